import { setTimeout as sleep } from 'node:timers/promises';
import { Problem } from '@pgmesh/wire';
import { expectEqual, pull, settle, type StoreNode, storeNode } from '../support/store-node';
import { startPulling } from './pulling';

const schema = 'CREATE TABLE items (id int PRIMARY KEY, name text, n int DEFAULT 0);';

/** Waits for what must come soon. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (await condition()) return;
    await sleep(10);
  }
  throw new Error('It did not come to pass');
}

const atRest = (node: StoreNode) =>
  until(
    async () =>
      (
        await node.sql(
          `SELECT FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' AND application_name = 'pgmesh'`,
        )
      ).length === 0,
  );

describe('A crash', () => {
  it('trap 14: of the process at any moment of the apply leaves rows and position of one window', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    for (let round = 0; round < 6; round++) {
      await a.sql(
        `INSERT INTO items SELECT i, 'round ${round}' FROM generate_series(1, 4000) AS i ON CONFLICT (id) DO UPDATE SET name = excluded.name, n = items.n + 1`,
      );
      await a.sql(`DELETE FROM items WHERE id % 7 = ${round}`);
      const pulling = await startPulling(a, b, 500 + round * 500);
      await sleep(Math.random() * 120);
      await pulling.kill();
      await atRest(b);
      // No row is ahead of the position, and none behind it: what the position claims is here, each row with its version.
      const torn = await b.sql(
        `SELECT key1 FROM p2p.meta_1 AS m FULL JOIN items AS d ON d.id = m.key1 WHERE m.deleted IS DISTINCT FROM (d.id IS NULL)`,
      );
      expect(torn).toEqual([]);
      const position = await b.store.inbox.position('a');
      const rows = await b.sql('SELECT count(*)::int AS n FROM p2p.meta_1');
      expect(position === null).toBe((rows[0] as { n: number }).n === 0);
    }
    await settle(a, b);
    await expectEqual(a, b);
    expect(await pull(a, b)).toBe(0);
  });

  it('trap 14: of a connection between any two statements, on either side, is a failure that is tried again', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    let refused = 0;
    let done = false;
    const murderer = (async () => {
      while (!done) {
        for (const node of [a, b]) {
          await node.sql(
            `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pgmesh' AND pid <> pg_backend_pid()`,
          );
        }
        await sleep(Math.random() * 40);
      }
    })();
    for (let round = 0; round < 25; round++) {
      await a.sql(
        `INSERT INTO items SELECT i, 'round ${round}' FROM generate_series(1, ${round % 2 ? 300 : 3000}) AS i ON CONFLICT (id) DO UPDATE SET name = excluded.name, n = items.n + 1`,
      );
      await pull(a, b, 700).catch((error: unknown) => {
        if (!(error instanceof Problem) || error.code !== 'unavailable') throw error;
        refused++;
      });
    }
    done = true;
    await murderer;
    expect(refused).toBeGreaterThan(0);
    await settle(a, b).catch(() => settle(a, b));
    await expectEqual(a, b);
  });

  it('trap 14: after the commit and before the answer brings the window again, which changes nothing', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await settle(a, b);
    await a.sql(`INSERT INTO items VALUES (1, 'x')`);
    const position = await b.store.inbox.position('a');
    const read = async () =>
      (
        await a.store.feed.open(
          { kind: 'window', tables: position!.tables, from: position!.snapshot },
          { except: () => [], limit: 100 },
        )
      ).frames();
    expect(await b.store.inbox.apply(await read())).toMatchObject({ outcome: 'applied', changed: 1 });
    expect(await b.store.inbox.apply(await read())).toMatchObject({ outcome: 'applied', changed: 0 });
    await expectEqual(a, b);
  });
});
