import { setTimeout as sleep } from 'node:timers/promises';
import { Problem } from '@pgmesh/wire';
import { type ClientConfig, DatabaseError, Pool, type PoolClient, TypeOverrides } from 'pg';

/** What a query runs on: a pool, or one of its connections inside a transaction. */
export type Queryable = Pick<PoolClient, 'query'>;

/** Settings under which values are printed (invariant 8): the same on every node, so that the text of a value means the same to all. */
export const printing = {
  DateStyle: 'ISO,YMD',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  extra_float_digits: '1',
  bytea_output: 'hex',
  lc_monetary: 'C',
  xmloption: 'content',
  quote_all_identifiers: 'off',
} as const;

/** The same with all that reading values takes. `row_security` off makes a policy that would hide rows an error instead of a loss. */
const pinned = {
  ...printing,
  array_nulls: 'on',
  standard_conforming_strings: 'on',
  transform_null_equals: 'off',
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: 'off',
  lock_timeout: '0',
  search_path: 'pg_catalog',
  row_security: 'off',
  application_name: 'pgmesh',
  idle_in_transaction_session_timeout: '0',
  statement_timeout: '0',
};

const int8 = 20;

/** Numbers of 64 bits are ours alone (stamps, counts), all below 2^53; users' values never come as anything but text. */
const types = new TypeOverrides();
types.setTypeParser(int8, Number);

/** How to connect: pinned settings, and more of them where a connection has a purpose of its own. */
export function connectionConfig(url: string, settings: Record<string, string> = {}): ClientConfig {
  const options = Object.entries({ ...pinned, ...settings })
    .map(([name, value]) => `-c ${name}=${value.replace(/([\\ ])/g, '\\$1')}`)
    .join(' ');
  return { connectionString: url, options, types, connectionTimeoutMillis: 10_000, keepAlive: true };
}

/**
 * A pool under the pinned settings. Errors of connections that run nothing just now, in the pool or in somebody's hands, are left
 * to their next query, which reports them.
 */
export function openPool(url: string, max: number, settings: Record<string, string> = {}): Pool {
  const pool = new Pool({ ...connectionConfig(url, settings), max, idleTimeoutMillis: 60_000 });
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

/** Runs `work` in one transaction on a connection of its own; a connection that failed to roll back is thrown away. */
export async function inTransaction<T>(
  pool: Pool,
  begin: string,
  work: (client: PoolClient) => Promise<T>,
): Promise<T> {
  const client = await pool.connect().catch(rethrowAway);
  let broken: Error | undefined;
  try {
    await client.query(begin);
    const result = await work(client);
    await client.query('COMMIT');
    return result;
  } catch (error) {
    await client.query('ROLLBACK').catch((failure: Error) => (broken = failure));
    return rethrowAway(error);
  } finally {
    client.release(broken);
  }
}

/** In a transaction: where a user's and ours wait for each other, ours gives way before PostgreSQL ends one of them. */
export const giveWay = `SET LOCAL lock_timeout = '400ms'`;

/** SQLSTATE of what has given way. */
export const lockNotAvailable = '55P03';

/** Lock not available, serialization failure, deadlock. */
export const waits = (state: string | undefined): boolean =>
  state === lockNotAvailable || state === '40001' || state === '40P01';

/** A transaction that gives way to users' where it would have to wait for them, begun again as often as that. */
export async function givingWay<T>(pool: Pool, attempts: number, work: (client: PoolClient) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await inTransaction(pool, 'BEGIN', async (client) => {
        await client.query(giveWay);
        return work(client);
      });
    } catch (error) {
      if (!waits(sqlState(error)) || attempt === attempts) throw error;
    }
    await sleep(Math.random() * 100);
  }
}

/** Milliseconds between two such tries, and how many there are: as long as a migration may take, before the read waits like everybody's. */
const pauseBetween = 100;
const mostTries = 120;

/** Reads what takes locks on several of the users' tables, giving way to whoever alters or empties them, and trying again. */
export async function readingBeside<T>(pool: Pool, read: (client: PoolClient) => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await inTransaction(pool, 'BEGIN', async (client) => {
        if (tries < mostTries) await client.query(giveWay);
        return read(client);
      });
    } catch (error) {
      if (sqlState(error) !== lockNotAvailable) throw error;
      await sleep(pauseBetween);
    }
  }
}

/** The SQLSTATE of an error, undefined when it is not PostgreSQL's. */
export function sqlState(error: unknown): string | undefined {
  return error instanceof DatabaseError || (error instanceof Error && 'severity' in error)
    ? (error as DatabaseError).code
    : undefined;
}

/** Of the classes that PostgreSQL leaves to others: what a function raises under a code of its own. Those of no row, and our own (P2). */
const foreign = /^(?!53|55|57|58|72|HV|P2|XX)[5-9I-Z]/;

/** Of the codes that a function may borrow: those that tell of the server, of a lock, or of us, whoever they come from. */
const notItsOwn = /^(08|53|55|57|58|72|40P01|P2|XX)/;
/** The innermost line of an error's context that is a function's of the users', in whatever language. */
const inFunction = /^(PL\/\w+|SQL) function (?!"?p2p\.)/m;

/**
 * What a table does not take of one row, whatever the others are: types, NOT NULL, CHECK, the size of an index entry, what functions in it raise,
 * under a code of their own or under one of PostgreSQL's.
 */
export function refusesRow(error: unknown): boolean {
  const state = sqlState(error);
  if (state === undefined) return false;
  if (/^(20|21|22|23000|2F|23502|23514|38|39)/.test(state) || foreign.test(state)) return true;
  return !notItsOwn.test(state) && inFunction.test((error as DatabaseError).where ?? '');
}

/** Whether a value, or all that is kept of a row in one, is more than PostgreSQL holds: a gigabyte as text, a quarter of that as JSON. */
export function isTooLarge(error: unknown): boolean {
  const state = sqlState(error);
  if (state === undefined)
    return error instanceof RangeError || (error as NodeJS.ErrnoException).code === 'ERR_STRING_TOO_LONG';
  return state.startsWith('54') || (state === 'XX000' && /invalid memory alloc request size/.test(String(error)));
}

/** Whether an error means that the database cannot be reached, as against having refused something. */
export function isAway(error: unknown): boolean {
  if (error instanceof Problem) return error.code === 'unavailable';
  const state = sqlState(error);
  if (state) return /^(08|57P0[1-5]|53300)/.test(state);
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  if (code && /^(ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN)/.test(code)) return true;
  return (
    error instanceof Error &&
    /Connection terminated|timeout exceeded when trying to connect|not queryable/.test(error.message)
  );
}

/** Throws the error on, as Problem `unavailable` when it means that the database is away. */
export function rethrowAway(error: unknown): never {
  if (error instanceof Problem || !isAway(error)) throw error;
  throw new Problem(
    'unavailable',
    `The node's database cannot be reached: ${(error as Error).message}. It is tried again.`,
    {},
    { cause: error },
  );
}
