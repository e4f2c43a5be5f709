import { holders } from '@pgmesh/core';
import { Problem } from '@pgmesh/wire';
import type { PoolClient } from 'pg';
import { refusesRow } from '../database';
import { inData, inMeta, keysEqual } from '../keys';
import type { TableShape } from '../table-shape';
import type { KeyConstraint } from './constraints';
import { type Lift, withMeta } from './lift';
import { byRank, isAbove } from './rank';
import type { Out, Reason } from './settlement';

/**
 * Lifts the standing rows that a lifted one of a higher rank has a key in common with.
 * @param refused gets the rows that a key cannot be made of
 */
export async function drawLower(
  client: PoolClient,
  lift: Lift,
  keys: readonly KeyConstraint[],
  refused: Out,
): Promise<void> {
  await claiming(client, lift, refused, async (without) => {
    for (const key of keys) await lift.lift(...lower(lift, key, without));
  });
}

/**
 * Puts those of a table's lifted rows into it that hold their keys and that it takes. Returns the others. A standing row that one of them
 * has a key in common with is above it (see drawLower).
 */
export async function settleKeys(
  client: PoolClient,
  lift: Lift,
  keys: readonly KeyConstraint[],
  refused: Out,
): Promise<Out> {
  for (;;) {
    const losers = await claiming(client, lift, refused, (without) => lost(client, lift, keys, without));
    const out: Out = new Map([...losers, ...refused]);
    const places = [...out.keys()];
    let missing: string[] = [];
    const refusal = await attempt(client, 'put', async () => {
      missing = await lift.putAllBut(places);
      if (missing.length > 0) await client.query('ROLLBACK TO SAVEPOINT put');
    });
    if (refusal === null && missing.length === 0) return out;
    // What else the refused rows claimed is free for others.
    for (const place of missing) refused.set(place, leftOut(lift.table));
    if (refusal === null) continue;
    await refuse(client, lift, refused, places, refusal, (part) => lift.tryPut(part));
  }
}

/** A trigger that is ENABLE ALWAYS has returned NULL, or made another row of it. */
function leftOut({ name }: TableShape): Reason {
  return { reason: 'refused', constraint: null, message: `A trigger of ${name} leaves it out.`, waits_for: null };
}

/** Does what asks for the claims of all lifted rows but the refused ones: what a row would have for a key may raise, and then the table does not take it. */
async function claiming<T>(
  client: PoolClient,
  lift: Lift,
  refused: Out,
  work: (without: readonly string[]) => Promise<T>,
): Promise<T> {
  for (;;) {
    const without = [...refused.keys()];
    let done: { readonly result: T } | null = null;
    const refusal = await attempt(client, 'claim', async () => {
      done = { result: await work(without) };
    });
    if (done !== null && refusal === null) return (done as { readonly result: T }).result;
    await refuse(client, lift, refused, without, refusal!, (part) => lift.tryOut(part));
  }
}

/** Adds those to the refused rows that are refused by themselves, of all but some. */
async function refuse(
  client: PoolClient,
  lift: Lift,
  refused: Out,
  without: readonly string[],
  why: Reason,
  put: Put,
): Promise<void> {
  const found = await findRefused(client, await lift.placesBut(without), why, put);
  if (found.size === 0) {
    // Nothing of a row that has to go, or that a trigger keeps from changing with others, can be kept beside the table.
    const text = `${lift.table.name} refuses to have rows changed or deleted, or takes them one by one alone: ${why.message} Nothing of it was applied; it is tried again.`;
    throw new Problem('invalid_value', text, { table: lift.table.name });
  }
  for (const [place, reason] of found) refused.set(place, reason);
}

type Put = (places: readonly string[]) => Promise<void>;

/** Of rows that are refused together, those that are refused by themselves. */
async function findRefused(client: PoolClient, places: readonly string[], why: Reason, put: Put): Promise<Out> {
  if (places.length === 1) return new Map([[places[0]!, why]]);
  const half = places.length >> 1;
  const all: Out = new Map();
  for (const part of [places.slice(0, half), places.slice(half)]) {
    const refusal = await attempt(client, 'try', async () => {
      await put(part);
      await client.query('ROLLBACK TO SAVEPOINT try');
    });
    if (refusal === null) continue;
    for (const [place, reason] of await findRefused(client, part, refusal, put)) all.set(place, reason);
  }
  return all;
}

/** Does the work under a savepoint. Returns why the table does not take a row of it; null where it takes all. */
async function attempt(client: PoolClient, savepoint: string, work: () => Promise<void>): Promise<Reason | null> {
  await client.query(`SAVEPOINT ${savepoint}`);
  try {
    await work();
    await client.query(`RELEASE SAVEPOINT ${savepoint}`);
    return null;
  } catch (error) {
    if (!refusesRow(error)) throw error;
    await client.query(`ROLLBACK TO SAVEPOINT ${savepoint}`);
    const { message, constraint } = error as Error & { constraint?: string };
    return { reason: 'refused', constraint: constraint ?? null, message: `${message}.`, waits_for: null };
  }
}

interface Contender {
  readonly claims: string[];
  readonly taken: string[];
}

/** Which of the lifted rows, but for `without`, do not hold their keys. */
async function lost(
  client: PoolClient,
  lift: Lift,
  keys: readonly KeyConstraint[],
  without: readonly string[],
): Promise<Out> {
  const contenders = new Map<string, Contender>();
  const contender = (place: string): Contender => {
    const one = contenders.get(place) ?? { claims: [], taken: [] };
    contenders.set(place, one);
    return one;
  };
  const standing = new Map<string, readonly string[]>();
  for (const [i, key] of keys.entries()) {
    const { rows: shared } = await client.query<{ place: string; claim: string }>(sharedClaims(lift, key), [without]);
    for (const { place, claim } of shared) contender(place).claims.push(`${i} ${claim}`);
    const { rows: taken } = await client.query<{ place: string; holder: string[] }>(takenClaims(lift, key), [without]);
    for (const { place, holder } of taken) {
      contender(place).taken.push(`${i} taken`);
      standing.set(`${place} ${i} taken`, holder);
    }
  }
  if (contenders.size === 0) return new Map();
  const { rows: ranked } = await client.query<{ place: string; key: string[] }>(
    `SELECT l.ctid::text AS place, ARRAY[${lift.table.key.map(({ ident }) => `l.${ident}::text`).join(', ')}] AS key
     FROM ${withMeta(lift)} WHERE l.ctid = ANY ($1::tid[]) ORDER BY ${byRank(lift.table, 'm')}`,
    [[...contenders.keys()]],
  );
  const losses = holders(ranked.map(({ place }) => contenders.get(place)!));
  return new Map(
    losses.flatMap((loss, i) => {
      if (loss === null) return [];
      const { place } = ranked[i]!;
      const holder = loss.holder === null ? standing.get(`${place} ${loss.claim}`)! : ranked[loss.holder]!.key;
      return [[place, heldBy(lift.table, keys[Number.parseInt(loss.claim, 10)]!, holder)] as const];
    }),
  );
}

function heldBy(table: TableShape, { name }: KeyConstraint, holder: readonly string[]): Reason {
  const key = Object.fromEntries(table.key.map((column, i) => [column.name, holder[i]!]));
  const above = table.oldestFirst ? 'An older row' : 'A later write';
  const message = `${above} has the key: by ${name}, the row cannot stand beside ${JSON.stringify(key)}.`;
  return { reason: 'key', constraint: name, message, waits_for: { table: table.name, key } };
}

/** The rows of `relation` for which `among` holds that a key is about: k1… and what it compares, x1…. */
function keyed(shape: TableShape, relation: string, { parts }: KeyConstraint, among: string): string {
  const primary = shape.key.map(({ ident }, i) => `r.${ident} AS k${i + 1}`);
  const compared = parts.map(({ sql }, i) => `${sql} AS x${i + 1}`);
  return `(SELECT r.ctid AS place, ${[...primary, ...compared].join(', ')} FROM ${relation} AS r WHERE ${among})`;
}

/** The standing rows: in the very words of the index, so that it is used. */
function standing(lift: Lift, key: KeyConstraint): string {
  const { table } = lift;
  return keyed(table, table.name, key, `${key.predicate ?? 'true'} AND ${lift.stands('r')}`);
}

/** The lifted rows but for those at the places that are the first parameter: what these would have for a key is never asked, for it may raise. */
function lifted({ table, rows }: Lift, key: KeyConstraint): string {
  const others = 'r.ctid <> ALL ($1::tid[])';
  return keyed(table, rows, key, key.predicate === null ? others : `CASE WHEN ${others} THEN ${key.predicate} END`);
}

function compete({ parts, nullsEqual }: KeyConstraint, a: string, b: string): string {
  return parts
    .map(({ operator }, i) => {
      const equal = `${a}.x${i + 1} OPERATOR(${operator}) ${b}.x${i + 1}`;
      return nullsEqual
        ? `(${equal} OR ${a}.x${i + 1} IS NOT DISTINCT FROM NULL AND ${b}.x${i + 1} IS NOT DISTINCT FROM NULL)`
        : equal;
    })
    .join(' AND ');
}

const inKeyed = (alias: string) => (_: unknown, i: number) => `${alias}.k${i + 1}`;

/** Standing rows that a lifted row of higher rank has a key in common with: the arguments of `lift`. */
function lower(lift: Lift, key: KeyConstraint, without: readonly string[]): [string, string, unknown[], string[]] {
  const { table } = lift;
  const version = (alias: string, of: string) =>
    `${table.meta} AS ${alias} ON ${keysEqual(table, inMeta(alias), inKeyed(of))}`;
  const beaten = `beaten AS MATERIALIZED (
    SELECT DISTINCT ${table.key.map((_, i) => `theirs.k${i + 1}`).join(', ')}
    FROM ${lifted(lift, key)} AS mine JOIN ${version('mine_m', 'mine')}
      JOIN ${standing(lift, key)} AS theirs ON ${compete(key, 'mine', 'theirs')} JOIN ${version('theirs_m', 'theirs')}
    WHERE ${isAbove(table, 'mine_m', 'theirs_m')})`;
  return ['beaten AS b', keysEqual(table, inData('d'), inKeyed('b')), [without], [beaten]];
}

/** Claims that lifted rows have in common: a number for all rows of one key, or of two rows that exclude each other. */
function sharedClaims(lift: Lift, key: KeyConstraint): string {
  const mine = lifted(lift, key);
  if (key.exclusion) {
    return `WITH pair AS (
        SELECT a.place AS one, b.place AS other, a.place::text || b.place::text AS claim FROM ${mine} AS a JOIN ${mine} AS b
          ON a.place < b.place AND ${compete(key, 'a', 'b')}
      ) SELECT p.one::text AS place, p.claim FROM pair AS p UNION ALL SELECT p.other::text, p.claim FROM pair AS p`;
  }
  const compared = key.parts.map((_, i) => `q.x${i + 1}`);
  const there = key.nullsEqual ? 'true' : compared.map((x) => `${x} IS DISTINCT FROM NULL`).join(' AND ');
  return `SELECT c.place::text AS place, c.claim::text AS claim FROM (
      SELECT q.place, dense_rank() OVER (ORDER BY ${compared.join(', ')}) AS claim, count(*) OVER (PARTITION BY ${compared.join(', ')}) AS rivals
      FROM ${mine} AS q WHERE ${there}
    ) AS c WHERE c.rivals > 1`;
}

/** Lifted rows whose key a standing row has, and that row's primary key. */
function takenClaims(lift: Lift, key: KeyConstraint): string {
  const { table } = lift;
  return `SELECT DISTINCT ON (mine.place) mine.place::text AS place, ARRAY[${table.key.map((_, i) => `theirs.k${i + 1}::text`).join(', ')}] AS holder
    FROM ${lifted(lift, key)} AS mine JOIN ${standing(lift, key)} AS theirs ON ${compete(key, 'mine', 'theirs')}`;
}
