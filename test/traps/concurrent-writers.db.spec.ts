import { setTimeout as sleep } from 'node:timers/promises';
import { Problem } from '@pgmesh/wire';
import type { PoolClient } from 'pg';
import { expectEqual, pull, settle, type StoreNode, storeNode } from '../support/store-node';

const schema = `CREATE TABLE items (id int PRIMARY KEY, name text, n int DEFAULT 0);
  CREATE TABLE parts (id int PRIMARY KEY, item int REFERENCES items, name text);`;

async function session<T>(node: StoreNode, work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await node.db.pool.connect();
  try {
    return await work(client);
  } finally {
    await client.query('ROLLBACK');
    client.release();
  }
}

/** Pulls until it is let through: rows that are locked are a reason to come again, nothing else is. */
async function pullPatiently(from: StoreNode, to: StoreNode): Promise<number> {
  for (let i = 0; i < 40; i++) {
    try {
      return await pull(from, to);
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== 'busy') throw error;
    }
  }
  throw new Error('The pull was never let through');
}

const code = (error: unknown) => (error as { code?: string }).code;

describe('Apply beside local writers', () => {
  it('never makes a user the victim of a deadlock, whatever the order of locks, and ends with equal nodes', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await a.sql(`INSERT INTO items SELECT i, 'x' FROM generate_series(1, 300) AS i`);
    await settle(a, b);
    let writing = true;
    const failures: unknown[] = [];
    // All users lock downwards, windows upwards: only with a window can a user get into a deadlock.
    const user = async (worker: number) => {
      for (let i = 0; writing; i++) {
        await session(b, async (client) => {
          await client.query(i % 3 === 0 ? 'BEGIN ISOLATION LEVEL SERIALIZABLE' : 'BEGIN');
          for (const id of [290, 200, 150, 90, 10].map((at) => at - ((i * 7 + worker) % 10))) {
            await client.query('SAVEPOINT s');
            await client.query(`UPDATE items SET n = n + 1, name = 'b' WHERE id = $1`, [id]);
            await sleep(Math.random() * 15);
            if (i % 5 === 0) await client.query('ROLLBACK TO s');
          }
          await client.query('COMMIT');
        }).catch((error: unknown) => {
          if (code(error) !== '40001') failures.push(error);
        });
      }
    };
    const users = [1, 2, 3].map(user);
    for (let i = 0; i < 25; i++) {
      await a.sql(`UPDATE items SET name = 'a' || $1::text WHERE id % 3 = $1::int % 3`, [i]);
      await pull(a, b).catch((error: unknown) => {
        if (code(error) !== 'busy') throw error;
      });
    }
    writing = false;
    await Promise.all(users);
    expect(failures).toEqual([]);
    await settle(a, b);
    await expectEqual(a, b);
  });

  it('gives way to a transaction that holds a row for long, and goes on after it', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await a.sql(`INSERT INTO items VALUES (1, 'x'), (2, 'y')`);
    await settle(a, b);
    await a.sql(`UPDATE items SET name = 'of a'`);
    await session(b, async (client) => {
      await client.query(`BEGIN; UPDATE items SET n = 7 WHERE id = 2`);
      await expect(pull(a, b)).rejects.toMatchObject({ code: 'busy', status: 503 });
      await client.query(`UPDATE items SET n = 7 WHERE id = 1; COMMIT`);
    });
    await pullPatiently(a, b);
    await settle(a, b);
    await expectEqual(a, b);
    expect(await a.sql('SELECT name, n FROM items ORDER BY id')).toEqual([
      { name: 'x', n: 7 },
      { name: 'y', n: 7 },
    ]);
  });

  it('does not wait for those who only refer to a row', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await a.sql(`INSERT INTO items VALUES (1, 'x')`);
    await settle(a, b);
    await a.sql(`UPDATE items SET name = 'changed'`);
    await session(b, async (client) => {
      await client.query(`BEGIN; INSERT INTO parts VALUES (1, 1, 'refers to it')`);
      await pull(a, b);
      await client.query('COMMIT');
    });
    await a.sql(`UPDATE items SET name = 'of a'`);
    await b.sql(`UPDATE items SET name = 'of b'`);
    await session(b, async (client) => {
      await client.query(`BEGIN; INSERT INTO parts VALUES (2, 1, 'beside a conflict')`);
      await pull(a, b);
      await client.query('COMMIT');
    });
    await settle(a, b);
    await expectEqual(a, b);
  });

  it('meets the same key being inserted here, before and after its commit', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await settle(a, b);
    for (const [id, how] of ['COMMIT', 'ROLLBACK', 'COMMIT', 'ROLLBACK'].entries()) {
      await a.sql(`INSERT INTO items VALUES ($1, 'of a')`, [id]);
      if (id > 1)
        await a.sql(`INSERT INTO items SELECT 1000 * $1::int + i, 'many' FROM generate_series(1, 600) AS i`, [id]);
      await session(b, async (client) => {
        await client.query(`BEGIN; INSERT INTO items VALUES (${id}, 'of b')`);
        const pulled = pullPatiently(a, b);
        await sleep(60);
        await client.query(how);
        await pulled;
      });
      await settle(a, b);
      await expectEqual(a, b);
      expect(await a.sql('SELECT name FROM items WHERE id = $1', [id])).toEqual([
        { name: how === 'COMMIT' ? 'of b' : 'of a' },
      ]);
    }
  });

  it('races with local deletes, new inserts and key changes of the same rows, and loses none of them', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await a.sql(`INSERT INTO items SELECT i, 'x' FROM generate_series(1, 20) AS i`);
    await settle(a, b);
    let writing = true;
    const failures: unknown[] = [];
    const churn = async (node: StoreNode, worker: number) => {
      for (let i = 0; writing; i++) {
        const id = ((i * 7 + worker * 3) % 20) + 1;
        const statement = [
          `DELETE FROM items WHERE id = ${id}`,
          `INSERT INTO items VALUES (${id}, '${node.id}${worker}', ${i}) ON CONFLICT (id) DO UPDATE SET name = excluded.name, n = excluded.n`,
          `UPDATE items SET n = n + 1 WHERE id = ${id}`,
          `UPDATE items SET id = ${((i * 11) % 20) + 1} WHERE id = ${id} AND NOT EXISTS (SELECT FROM items WHERE id = ${((i * 11) % 20) + 1})`,
        ][i % 4]!;
        await node.sql(statement).catch((error: unknown) => {
          if (code(error) !== '23505') failures.push({ statement, error });
        });
        await sleep(Math.random() * 3);
      }
    };
    const churning = [churn(a, 1), churn(b, 2), churn(b, 3)];
    for (let i = 0; i < 120; i++) {
      for (const [from, to] of [
        [a, b],
        [b, a],
      ] as const) {
        await pull(from, to).catch((error: unknown) => {
          if (code(error) !== 'busy') throw error;
        });
      }
    }
    writing = false;
    await Promise.all(churning);
    expect(failures).toEqual([]);
    await settle(a, b);
    await expectEqual(a, b);
    expect((await pull(a, b)) + (await pull(b, a))).toBe(0);
    // The versions say which rows are there, and the table has them.
    expect(
      await b.sql(
        `SELECT key1 FROM p2p.meta_1 AS m FULL JOIN items AS d ON d.id = m.key1 WHERE m.deleted IS DISTINCT FROM (d.id IS NULL)`,
      ),
    ).toEqual([]);
  });
});
