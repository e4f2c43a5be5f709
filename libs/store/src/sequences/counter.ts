import { firstDrawn, isDrawnBy, type Slot } from '@pgmesh/core';
import type { Queryable } from '../database';
import type { FedColumn } from './fed-column';

/** A fed column whose sequence is known. */
export type Counted = FedColumn & { readonly sequence: string };

/** Where a sequence stands, and what the column that it feeds holds. */
export interface Counter {
  /** The number that it drew last; null when it has not drawn any since it was made or restarted. */
  readonly last: bigint | null;
  /** The number that it draws next; it may lie beyond its end. */
  readonly next: bigint;
  /** The furthest number in the column in the direction of counting; null when there is none. */
  readonly highest: bigint | null;
}

interface CounterRow {
  last_value: string;
  is_called: boolean;
  highest: string | null;
}

export const isAscending = ({ increment }: Pick<FedColumn, 'increment'>): boolean => increment > 0n;

/** Whether `value` lies beyond `other` in the direction in which the sequence counts. */
export const isBeyond = (fed: Pick<FedColumn, 'increment'>, value: bigint, other: bigint): boolean =>
  isAscending(fed) ? value > other : value < other;

export const furthest = (fed: Pick<FedColumn, 'increment'>, one: bigint, other: bigint): bigint =>
  isBeyond(fed, one, other) ? one : other;

/** Whether the sequence counts in the steps of this slot, from one of its numbers, also when it starts anew or comes round. */
export function isInterleaved(fed: FedColumn, next: bigint, slot: Slot): boolean {
  const starts = fed.cycle ? [next, fed.start, roundTo(fed)] : [next, fed.start];
  const stride = BigInt(slot.of);
  return (fed.increment === stride || fed.increment === -stride) && starts.every((value) => isDrawnBy(slot, value));
}

/** Where a sequence that has come to its end begins again. */
export const roundTo = (fed: FedColumn): bigint => (isAscending(fed) ? fed.min : fed.max);

export interface CounterQuery {
  /** `own`: of the numbers that the sequence itself would draw, and has not drawn yet. Those between its steps are others'. */
  readonly highest: 'all' | 'own';
  /** The rows to look at, as a query that gives their `value`; the table's unless given. */
  readonly rows?: string;
}

/** Where the sequence stands, and how far the column is. */
export async function readCounter(db: Queryable, fed: Counted, query: CounterQuery): Promise<Counter> {
  const { rows } = await db.query<CounterRow>(
    `SELECT s.last_value::text, s.is_called, h.highest::text FROM ${fed.sequence} AS s, LATERAL (${highestQuery(fed, query)}) AS h`,
  );
  const { last_value, is_called, highest } = rows[0]!;
  const at = BigInt(last_value);
  return {
    last: is_called ? at : null,
    next: is_called ? at + fed.increment : at,
    highest: highest === null ? null : BigInt(highest),
  };
}

/** What the sequence cannot draw, being out of its range or no whole number, does not count. */
function highestQuery(fed: Counted, { highest, rows }: CounterQuery): string {
  if (!fed.plain) return 'SELECT NULL AS highest';
  const [furthest, ahead, stride] = isAscending(fed) ? ['max', '>=', fed.increment] : ['min', '<=', -fed.increment];
  const conditions = [`v.value BETWEEN '${fed.min}'::int8 AND '${fed.max}'::int8`];
  if (highest === 'own') conditions.push(`v.value ${ahead} s.last_value`);
  if (highest === 'own' && stride !== 1n) conditions.push(`mod(v.value::numeric - s.last_value, ${stride}) = 0`);
  const from = rows ?? `SELECT t.${fed.ident} AS value FROM ${fed.table} AS t`;
  return `SELECT trunc(${furthest}(v.value)::numeric)::int8 AS highest FROM (${from}) AS v WHERE ${conditions.join(' AND ')}`;
}

/** Whether the table has a number that the sequence is still to draw: an insert would fail. */
export const isBehind = (fed: FedColumn, { next, highest }: Counter): boolean =>
  highest !== null && !isBeyond(fed, next, highest);

/** Where a sequence that is to be interleaved goes on: beyond all that it drew and that the table has. Null: there is no room left. */
export function restartOf(fed: FedColumn, { last, next, highest }: Counter, slot: Slot): bigint | null {
  const ascending = isAscending(fed);
  const step = ascending ? 1n : -1n;
  const fits = (value: bigint): boolean => value >= fed.min && value <= fed.max;
  const drawn = last === null ? next : last + step;
  // Who lets a sequence come round has made room at its beginning.
  const from = highest === null || fed.cycle ? drawn : furthest(fed, drawn, highest + step);
  const restart = firstDrawn(slot, from, ascending);
  if (fits(restart)) return restart;
  const again = firstDrawn(slot, roundTo(fed), ascending);
  return fed.cycle && fits(again) ? again : null;
}
