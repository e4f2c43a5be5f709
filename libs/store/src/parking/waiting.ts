import { escapeLiteral } from 'pg';
import { textKey } from '../keys';
import type { TableShape } from '../table-shape';
import { typed } from '../typed-text';
import { type Constraints, type Reference, unquoted } from './constraints';

/** A record of p2p.parked. */
export interface Waiting {
  readonly table_id: number;
  readonly id: number;
}

/** Whether equal keys are the same text, so that what waits for a row is found by it. */
export function hasSettledKey(shape: TableShape | undefined): boolean {
  return shape?.key.every(({ settled }) => settled) ?? true;
}

/** Whether the record `p` is of the key of the metadata row `m`, where that is settled: by an index. */
export function hasSameKey(shape: TableShape): string {
  return `p.table_id = ${shape.id} AND p2p.key_digest(p.key) = p2p.key_digest(${textKey(shape, 'm')})`;
}

/**
 * SQL for the records of parked rows whose lot may be another since rows of `shape` changed: those that wait for one of them, and
 * where one of them could claim a key that a row holds which waits for its parent, those.
 * @param keys SQL, in brackets, for the primary keys of the rows, key1, key2, …
 */
export function waitingFor(constraints: Constraints, shape: TableShape, keys: string): string {
  const { id, name, key } = shape;
  const named = key.map((column, i) => `${escapeLiteral(column.name)}, m.key${i + 1}::text`).join(', ');
  const row = `jsonb_build_object('table', ${escapeLiteral(name)}, 'key', jsonb_build_object(${named}))`;
  const record = 'SELECT p.table_id, p.id FROM p2p.parked AS p';
  const any = `EXISTS (SELECT FROM ${keys} AS m)`;
  const vague = vaguelyReferred(constraints, shape).map(escapeLiteral);
  return [
    `SELECT p.table_id, p.id FROM ${keys} AS m JOIN p2p.parked AS p ON p2p.digest(p.waits_for) = p2p.digest(${row})`,
    ...(constraints.keys.some(({ table }) => table === id)
      ? [`${record} WHERE p.table_id = ${id} AND p.reason = 'reference' AND ${any}`]
      : []),
    ...(vague.length > 0
      ? [`${record} WHERE p.reason = 'reference' AND p.waits_for ->> 'table' IN (${vague.join(', ')}) AND ${any}`]
      : []),
  ].join(' UNION ');
}

/** SQL for the parked rows that wait for a row of a table that is not shared, and that is there. */
export function metElsewhere({ name, child, parent, columns }: Reference): string {
  const isThere = columns.map((column) => {
    const value = typed(column, `(p.waits_for -> 'key' ->> ${escapeLiteral(unquoted(column.parent))})`);
    return `r.${column.parent} OPERATOR(${column.equals}) ${value}`;
  });
  return `SELECT FROM p2p.parked AS p JOIN ${parent.relation} AS r ON ${isThere.join(' AND ')}
    WHERE p.table_id = ${child.table} AND p.reason = 'reference' AND p."constraint" = ${escapeLiteral(name)}`;
}

/** The names under which rows of a table are referred to otherwise than by the text of their primary key. */
function vaguelyReferred({ references }: Constraints, { id, name }: TableShape): string[] {
  const vague = references.filter(
    ({ parent, toPrimaryKey, sameTypes }) =>
      parent.table === id && !(toPrimaryKey && sameTypes && parent.relation === name),
  );
  return [...new Set(vague.map(({ parent }) => parent.relation))];
}
