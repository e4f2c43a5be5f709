import { setTimeout as sleep } from 'node:timers/promises';
import type { PoolClient } from 'pg';
import { sqlState } from '../database';
import { begin } from './merge-transaction';
import { retried } from './refusal';

/** Of half a second each. */
const attempts = 120;

/** One transaction that capture leaves alone; begun again when a user's transaction stands in its way. */
export async function inApply<T>(
  connect: () => Promise<PoolClient>,
  work: (client: PoolClient) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const client = await connect();
    try {
      for (const statement of begin) await client.query(statement);
      const result = await work(client);
      await client.query('COMMIT');
      return result;
    } catch (error) {
      await client.query('ROLLBACK');
      const state = sqlState(error) ?? '';
      if (attempt === attempts || !retried.has(state)) throw error;
    } finally {
      client.release();
    }
    await sleep(Math.random() * 100);
  }
}
