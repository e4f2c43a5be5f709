import type { QueryConfig } from 'pg';
import { prepared } from '../prepared';
import type { Shapes } from '../shapes';
import { connected, type Constraints, watched } from './constraints';
import { assertReferences } from './references';

/** Which tables have parked rows, by their ids. */
export const parkedTables = prepared(
  'SELECT t.id FROM p2p.tracked_table AS t WHERE EXISTS (SELECT FROM p2p.parked AS p WHERE p.table_id = t.id)',
  [],
);

/** SQLSTATEs of p2p.unmet and p2p.assert_constraints. */
export const unmetReference = 'P2003';
export const otherConstraints = 'P2004';

/** Whether a window of these tables is merged the long way from the start (docs/parking.md). */
export function mustSettle(constraints: Constraints, tables: readonly number[], parked: readonly number[]): boolean {
  if (tables.some((table) => !watched(constraints, table))) return true;
  if (parked.length === 0) return false;
  const concerned = connected(constraints, tables);
  return parked.some((table) => concerned.has(table));
}

/** Ends the transaction where what it has merged into these tables leaves a reference unmet, or where their foreign keys are not those that we know. */
export function assertConstraints(shapes: Shapes, tables: ReadonlySet<number>): QueryConfig[] {
  const touched = shapes.all.filter(({ id }) => tables.has(id));
  const { triggers } = shapes.constraints;
  const sum = touched.reduce((total, { id }) => total + (triggers.get(id) ?? 0), 0);
  return [
    prepared('SELECT p2p.assert_constraints($1::oid[], $2::int8)', [touched.map(({ oid }) => oid), sum]),
    ...assertReferences(shapes.constraints, new Map(shapes.all.map((shape) => [shape.id, shape])), tables),
  ];
}
