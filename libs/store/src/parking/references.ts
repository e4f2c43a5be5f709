import { escapeLiteral, type QueryConfig } from 'pg';
import { inData, inMeta, keysEqual } from '../keys';
import { prepared } from '../prepared';
import type { TableShape } from '../table-shape';
import type { Constraints, Reference } from './constraints';

type Shapes = ReadonlyMap<number, TableShape>;

/**
 * Ends the transaction with p2p.unmet where the rows that it has merged leave a reference unmet: asked at its end, of the metadata that
 * bears its id. The parents are locked against deletes meanwhile, as PostgreSQL's own foreign keys lock them; who deletes
 * one that a child refers to has waited for us, or we for them.
 */
export function assertReferences(
  { references }: Constraints,
  shapes: Shapes,
  tables: ReadonlySet<number>,
): QueryConfig[] {
  const among = (table: number | null): table is number => table !== null && tables.has(table) && shapes.has(table);
  return references.flatMap((reference) => [
    ...(among(reference.child.table) ? [prepared(childrenMet(reference, shapes.get(reference.child.table)!), [])] : []),
    ...(among(reference.parent.table) && reference.toPrimaryKey
      ? [prepared(nobodyLeft(reference, shapes.get(reference.parent.table)!), [])]
      : []),
  ]);
}

const isMerged = 'm.xid = pg_current_xact_id()';

function childrenMet(reference: Reference, shape: TableShape): string {
  const { name, child, parent, columns, full } = reference;
  const merged = `${shape.meta} AS m JOIN ${child.relation} AS d ON ${keysEqual(shape, inData('d'), inMeta('m'))}`;
  const partly =
    full && columns.length > 1
      ? `EXISTS (SELECT FROM ${merged} WHERE ${isMerged} AND ${partlyNull(reference, 'd')}) OR `
      : '';
  return `WITH child AS MATERIALIZED (
      SELECT DISTINCT ${columns.map((column, i) => `d.${column.child} AS r${i + 1}`).join(', ')} FROM ${merged} WHERE ${isMerged} AND ${refers(reference, 'd')}
    ), met AS MATERIALIZED (
      SELECT FROM ${parent.relation} AS p JOIN child AS c ON ${columns.map((column, i) => `p.${column.parent} OPERATOR(${column.equals}) c.r${i + 1}`).join(' AND ')}
      FOR KEY SHARE OF p
    )
    SELECT CASE WHEN ${partly}(SELECT count(*) FROM child) > (SELECT count(*) FROM met) THEN p2p.unmet(${escapeLiteral(name)}) END`;
}

/** Nobody refers to a row that is gone. Of the primary key alone the metadata says what it was. */
function nobodyLeft({ name, child, columns }: Reference, shape: TableShape): string {
  const isParent = columns.map(({ child: column, parent, equals }) => {
    const place = shape.key.findIndex(({ ident }) => ident === parent);
    return `m.key${place + 1} OPERATOR(${equals}) d.${column}`;
  });
  return `SELECT CASE WHEN EXISTS (SELECT FROM ${shape.meta} AS m JOIN ${child.relation} AS d ON ${isParent.join(' AND ')}
    WHERE ${isMerged} AND m.deleted) THEN p2p.unmet(${escapeLiteral(name)}) END`;
}

/**
 * Locks what the rows of a relation refer to, against deletes. Whoever deletes a parent looks for its children, and waits for those that are
 * lifted: he does not see them come back, and nobody else would keep him from it.
 */
export function lockReferred(reference: Reference, relation: string): string {
  const { parent, columns } = reference;
  const referred = columns.map(({ child }, i) => `d.${child} AS r${i + 1}`).join(', ');
  const isParent = columns
    .map((column, i) => `p.${column.parent} OPERATOR(${column.equals}) c.r${i + 1}`)
    .join(' AND ');
  return `SELECT count(*) FROM (SELECT FROM ${parent.relation} AS p
    JOIN (SELECT DISTINCT ${referred} FROM ${relation} AS d WHERE ${refers(reference, 'd')}) AS c ON ${isParent} FOR KEY SHARE OF p) AS l`;
}

/** What rows are referred to by: r1, r2, … */
export function parentColumns({ columns }: Reference, alias: string): string {
  return columns.map(({ parent }, i) => `${alias}.${parent} AS r${i + 1}`).join(', ');
}

/** Whether a row refers to `r`, which has the parentColumns. */
export function isReferred({ columns }: Reference, alias: string): string {
  return columns.map(({ child, equals }, i) => `r.r${i + 1} OPERATOR(${equals}) ${alias}.${child}`).join(' AND ');
}

/** Whether a row refers to one at all. */
export function refers({ columns }: Reference, alias: string): string {
  return columns.map(({ child }) => `${alias}.${child} IS NOT NULL`).join(' AND ');
}

function partlyNull({ columns }: Reference, alias: string): string {
  const nulls = `num_nulls(${columns.map(({ child }) => `${alias}.${child}`).join(', ')})`;
  return `${nulls} BETWEEN 1 AND ${columns.length - 1}`;
}

/** Whether a row's reference is not met. */
export function isUnmet(reference: Reference, alias: string): string {
  const { parent, columns, full } = reference;
  const missing = `(${refers(reference, alias)} AND NOT EXISTS (SELECT FROM ${parent.relation} AS p
    WHERE ${columns.map((column) => `p.${column.parent} OPERATOR(${column.equals}) ${alias}.${column.child}`).join(' AND ')}))`;
  return full && columns.length > 1 ? `(${missing} OR ${partlyNull(reference, alias)})` : missing;
}
