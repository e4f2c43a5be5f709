// @ts-check
import { setTimeout as pause } from 'node:timers/promises';
import { now, Overdue } from './deadline.mjs';

/**
 * A way to keep a table of one server the same on another, as the bench drives it. `prepare` does all that comes before
 * the clock starts; `join` starts the first copy; `settle` returns once the link has come to rest after it;
 * `inspect` throws when something that the link needs has ended.
 * @typedef {{ source: import('./postgres.mjs').PostgresServer, receiver: import('./postgres.mjs').PostgresServer,
 *   directory: string, teardown: import('./teardown.mjs').Teardown }} Servers
 * @typedef {{ join: () => Promise<void>, settle: () => Promise<void>, inspect: () => void, peakMemory?: () => { source: number, receiver: number } }} Link
 * @typedef {{ name: 'native' | 'pgmesh' | 'before', walLevel: 'logical' | 'replica', prepare: (servers: Servers, table: string) => Promise<Link> }} System
 */

/** PostgreSQL's logical replication as it comes: a publication, a subscription, no option changed. @type {System} */
export const native = {
  name: 'native',
  walLevel: 'logical',
  async prepare({ source, receiver }, table) {
    const publisher = await source.connect();
    await publisher.query(`CREATE PUBLICATION bench FOR TABLE ${table}`);
    await publisher.end();
    const subscriber = await receiver.connect();
    return {
      async join() {
        await subscriber.query(`CREATE SUBSCRIPTION bench CONNECTION '${source.conninfo}' PUBLICATION bench`);
      },
      async settle() {
        const patience = 30_000;
        const deadline = now() + patience;
        for (;;) {
          const { rows } = await subscriber.query(
            `SELECT bool_and(srsubstate = 'r') AS ready FROM pg_subscription_rel`,
          );
          if (rows[0].ready) return;
          if (now() > deadline) throw new Overdue('the subscription to be ready after its first copy', patience);
          await pause(50);
        }
      },
      inspect: () => {}, // A server that ends is told by its connections.
    };
  },
};
