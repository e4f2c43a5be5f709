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

/** Where the sequence stands; of the column nothing is read. */
export const readNext = (db: Queryable, fed: Counted): Promise<Counter> =>
  read(db, fed, 'SELECT NULL::text AS highest');

/** Where the sequence stands, and how far the column is, by whoever's numbers. */
export const readCounter = (db: Queryable, fed: Counted): Promise<Counter> =>
  read(db, fed, highestQuery(fed, valuesOf(fed), [fed.min, fed.max]));

/**
 * The same by the numbers alone that the sequence itself would draw, and has not drawn yet: those between its steps are others'. And
 * within its reach. `rows` gives the rows to look at, as a query of their `value`; they are the table's unless given.
 */
export async function readOwnCounter(
  db: Queryable,
  fed: Counted,
  rows: (reach: bigint) => string | null = () => null,
): Promise<Counter & { readonly reach: bigint }> {
  const { next } = await readNext(db, fed);
  const reach = reachOf(fed, next);
  const [bounds, ahead, stride] = isAscending(fed)
    ? ([[fed.min, reach], '>=', fed.increment] as const)
    : ([[reach, fed.max], '<=', -fed.increment] as const);
  const conditions = [
    `v.value ${ahead} s.last_value`,
    ...(stride === 1n ? [] : [`mod(v.value::numeric - s.last_value, ${stride}) = 0`]),
  ];
  return { ...(await read(db, fed, highestQuery(fed, rows(reach) ?? valuesOf(fed), bounds, conditions))), reach };
}

/** Keeps others from drawing until the transaction ends, when those have ended who have drawn. Nothing else of it changes. */
export async function lockSequence(db: Queryable, { sequence, cycle }: Counted, patience: string): Promise<void> {
  const asItIs = cycle ? 'CYCLE' : 'NO CYCLE';
  await db.query(`SET LOCAL lock_timeout = '${patience}'; ALTER SEQUENCE ${sequence} ${asItIs}`);
}

async function read(db: Queryable, { sequence, increment }: Counted, highestOf: string): Promise<Counter> {
  const { rows } = await db.query<CounterRow>(
    `SELECT s.last_value::text, s.is_called, h.highest::text FROM ${sequence} AS s, LATERAL (${highestOf}) AS h`,
  );
  const { last_value, is_called, highest } = rows[0]!;
  const at = BigInt(last_value);
  return {
    last: is_called ? at : null,
    next: is_called ? at + increment : at,
    highest: highest === null ? null : BigInt(highest),
  };
}

const valuesOf = ({ table, ident }: Counted): string => `SELECT t.${ident} AS value FROM ${table} AS t`;

/** What lies out of the bounds, or is no whole number, does not count. */
function highestQuery(
  fed: Counted,
  rows: string,
  [from, to]: readonly [bigint, bigint],
  conditions: readonly string[] = [],
): string {
  if (!fed.plain) return 'SELECT NULL::text AS highest';
  const where = [`v.value BETWEEN '${from}'::int8 AND '${to}'::int8`, ...conditions].join(' AND ');
  return `SELECT trunc(${isAscending(fed) ? 'max' : 'min'}(v.value)::numeric)::int8 AS highest FROM (${rows}) AS v WHERE ${where}`;
}

/** Whether the table has a number that the sequence is still to draw: an insert would fail. */
export const isBehind = (fed: FedColumn, { next, highest }: Counter): boolean =>
  highest !== null && !isBeyond(fed, next, highest);

/**
 * How far a sequence follows the numbers in its column. A row with the very last number, as some applications have one, would leave it
 * none: a 64th of all stays before it, and less by and by as the sequence itself comes near. It is an eighth away from what it passes
 * over, so that it is looked at again long before it could be drawn.
 */
export function reachOf(fed: FedColumn, next: bigint): bigint {
  const left = isAscending(fed) ? fed.max - next : next - fed.min;
  let spare = (fed.max - fed.min) / 64n;
  while (spare > 0n && left <= 8n * spare) spare /= 8n;
  return isAscending(fed) ? fed.max - spare : fed.min + spare;
}

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
