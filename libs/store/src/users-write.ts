import { Problem } from '@pgmesh/wire';
import type { Pool, PoolClient } from 'pg';
import { givingWay, sqlState, waits } from './database';

/** Of half a second each, at most. */
const attempts = 12;

/**
 * One transaction of writes as a user makes them: triggers and constraints apply, capture sees it. Begun again, for some seconds,
 * when others' locks stand in its way.
 * @throws Problem `busy`; `invalid_value`, `forbidden` when PostgreSQL refuses what is written
 */
export async function usersWrite<T>(pool: Pool, work: (client: PoolClient) => Promise<T>): Promise<T> {
  try {
    return await givingWay(pool, attempts, work);
  } catch (error) {
    throw refused(error);
  }
}

/** Values that the table, its constraints, domains and triggers do not take. */
const refusals = /^(0A|20|21|22|23|27|2F|38|39|42|44|54|P0)/;

function refused(error: unknown): unknown {
  const state = sqlState(error) ?? '';
  const { message, detail, table, column, constraint } = error as Error & Record<string, string | undefined>;
  const where = { table, column, constraint };
  const told = detail ? `${message} (${detail.replace(/\.$/, '')})` : message;
  if (waits(state)) {
    const text = `The row is locked by another transaction: ${message}. Nothing was written; try again.`;
    return new Problem('busy', text, where, { cause: error });
  }
  if (state === '42501') {
    const text = `The node's database role may not write this: ${message}. Grant it the right.`;
    return new Problem('forbidden', text, where, { cause: error });
  }
  if (refusals.test(state)) {
    const text = `PostgreSQL refused the row: ${told}. Nothing was written; send one that the table takes.`;
    return new Problem('invalid_value', text, where, { cause: error });
  }
  return error;
}
