import type { QueryConfig } from 'pg';
import { prepared } from '../prepared';
import type { Shapes } from '../shapes';
import type { TableShape } from '../table-shape';
import { connected, watched } from './constraints';
import { assertReferences } from './references';
import { hasSameKey, hasSettledKey, waitingFor } from './waiting';

/** Which tables have parked rows, by their ids. */
export const parkedTables = prepared(
  'SELECT t.id FROM p2p.tracked_table AS t WHERE EXISTS (SELECT FROM p2p.parked AS p WHERE p.table_id = t.id)',
  [],
);

/** SQLSTATEs of p2p.unmet, p2p.unsettled and p2p.assert_constraints. */
export const unmetReference = 'P2003';
export const unsettled = 'P2005';
export const otherConstraints = 'P2004';

/**
 * Whether windows of these tables are merged the long way from the start (docs/parking.md): where nobody watches over a constraint, or
 * over the parked rows.
 */
export function mustSettle(
  { constraints, all }: Shapes,
  tables: readonly number[],
  parked: readonly number[],
): boolean {
  if (tables.some((table) => !watched(constraints, table))) return true;
  const concerned = connected(constraints, tables);
  return (
    parked.some((table) => concerned.has(table)) &&
    all.some((shape) => concerned.has(shape.id) && !hasSettledKey(shape))
  );
}

/**
 * Ends the transaction where what it has merged into these tables leaves a reference unmet or changes what a parked row waits for, or where
 * their foreign keys are not those that we know.
 */
export function assertConstraints(shapes: Shapes, tables: ReadonlySet<number>): QueryConfig[] {
  const touched = shapes.all.filter(({ id }) => tables.has(id));
  const { triggers } = shapes.constraints;
  const sum = touched.reduce((total, { id }) => total + (triggers.get(id) ?? 0), 0);
  return [
    prepared('SELECT p2p.assert_constraints($1::oid[], $2::int8)', [touched.map(({ oid }) => oid), sum]),
    ...assertReferences(shapes.constraints, new Map(shapes.all.map((shape) => [shape.id, shape])), tables),
  ];
}

/**
 * Ends the transaction where it has merged a row that is parked, or that a parked one waits for, or one that could claim a key which a row
 * that waits for its parent holds.
 */
export function assertUnaffected(
  shapes: Shapes,
  tables: ReadonlySet<number>,
  parked: readonly number[],
): QueryConfig[] {
  const concerned = connected(shapes.constraints, tables);
  if (!parked.some((table) => concerned.has(table))) return [];
  return shapes.all
    .filter(({ id }) => tables.has(id))
    .map((shape) => {
      const merged = `(SELECT * FROM ${shape.meta} WHERE xid = pg_current_xact_id())`;
      return prepared(`SELECT CASE WHEN ${affects(shapes, shape, merged)} THEN p2p.unsettled() END`, []);
    });
}

/** Whether what becomes of parked rows may be another since these versions of a table's rows, SQL for rows of its metadata, are there. */
export function affects({ constraints }: Shapes, shape: TableShape, versions: string): string {
  // Equal keys may be written in two ways, and records are found by their text.
  if (!hasSettledKey(shape)) return `EXISTS (SELECT FROM ${versions} AS m)`;
  return `EXISTS (SELECT FROM ${versions} AS m JOIN p2p.parked AS p ON ${hasSameKey(shape)})
    OR EXISTS (${waitingFor(constraints, shape, versions)})`;
}
