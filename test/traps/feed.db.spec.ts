import { setTimeout as sleep } from 'node:timers/promises';
import { nextRequest } from '@pgmesh/core';
import { PostgresStore } from '@pgmesh/store';
import { Client } from 'pg';
import { EmbeddedServer } from '../../libs/store/src/embedded';
import { startServer } from '../support/database';
import { advanceTransactionIds } from '../support/transaction-ids';
import { contents, expectEqual, openStore, pull, settle, storeNode, type StoreNode } from '../support/store-node';

const numbered = 'CREATE TABLE t (id int PRIMARY KEY, x int);';
const wide = 'CREATE TABLE t (id bigint PRIMARY KEY, x text);';

/** Keeps pulling until `writing` has ended, then once more. */
async function pullWhile(writing: Promise<unknown>, from: StoreNode, to: StoreNode): Promise<void> {
  let writes = true;
  const ended = writing.finally(() => (writes = false));
  while (writes) await pull(from, to, 50);
  await ended;
  await pull(from, to);
}

/** Transactions of one writer: savepoints, rollbacks of them or of all, sleeps in between, of rows of its own and of others'. */
async function write(client: Client, writer: number, transactions: number): Promise<void> {
  const chance = (of: number) => Math.random() < of;
  for (let n = 0; n < transactions; n++) {
    const id = writer * 1000 + n;
    await client.query('BEGIN');
    await client.query(`INSERT INTO t VALUES (${id}, 'kept')`);
    await client.query('SAVEPOINT s');
    await client.query(`INSERT INTO t VALUES (${id + 500}, 'in a savepoint')`);
    if (chance(0.5)) await sleep(Math.random() * 20);
    if (chance(0.3)) await client.query('ROLLBACK TO SAVEPOINT s');
    await client.query(`UPDATE t SET x = 'shared by ${writer}' WHERE id = ${Math.floor(Math.random() * 10)}`);
    if (chance(0.3)) await sleep(Math.random() * 20);
    await client.query(chance(0.2) ? 'ROLLBACK' : 'COMMIT');
  }
}

describe('The feed', () => {
  it('trap 01: all rows of 64 writers arrive at a reader that pulls all the while, whatever order they commit in', async () => {
    const shared = `${wide} INSERT INTO t SELECT i, 'shared' FROM generate_series(0, 9) AS i`;
    await using a = await storeNode('a', shared);
    await using b = await storeNode('b', wide);
    const clients = await Promise.all(
      Array.from({ length: 64 }, async () => {
        const client = new Client(a.db.url);
        await client.connect();
        return client;
      }),
    );
    try {
      await pullWhile(Promise.all(clients.map((client, i) => write(client, i + 1, 5))), a, b);
    } finally {
      await Promise.all(clients.map((client) => client.end()));
    }
    expect((await contents(b, 't')).rows.length).toBeGreaterThan(64);
    await expectEqual(a, b);
    expect(await pull(a, b)).toBe(0);
  });

  it('trap 02: what commits between the two reads of a window belongs to the next one, whole', async () => {
    await using a = await storeNode('a', numbered);
    await using b = await storeNode('b', numbered);
    await settle(a, b);
    await a.sql('INSERT INTO t VALUES (1, 1), (2, 1)');
    const { nodeId, epoch } = a.store.identity;
    const request = nextRequest(await b.store.inbox.position(nodeId), epoch, a.store.tables(), null);
    const window = await a.store.feed.open(request!, { except: () => [], limit: 100 });
    // The window's snapshot is taken, its rows are not read yet.
    await a.sql('UPDATE t SET x = 2 WHERE id = 1; INSERT INTO t VALUES (3, 2)');
    await b.store.inbox.apply(window.frames());
    expect(await b.sql('SELECT id, x FROM t ORDER BY id')).toEqual([
      { id: 1, x: 1 },
      { id: 2, x: 1 },
    ]);
    expect(await pull(a, b)).toBe(2);
    await expectEqual(a, b);
  });

  it('trap 03: a transaction left open holds back nobody else, is named by health, and arrives when it ends', async () => {
    await using a = await storeNode('a', numbered);
    await using b = await storeNode('b', numbered);
    await settle(a, b);
    const idle = await a.db.pool.connect();
    await idle.query('BEGIN; INSERT INTO t VALUES (1, 1)');
    for (let i = 2; i < 6; i++) {
      await a.sql(`INSERT INTO t VALUES (${i}, 0)`);
      expect(await pull(a, b)).toBe(1);
    }
    const { rows } = await idle.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    expect((await a.store.health(0)).idle).toMatchObject({ pid: rows[0]!.pid, state: 'idle in transaction' });
    expect((await a.store.health()).idle).toBeNull();
    await idle.query('COMMIT');
    idle.release();
    expect(await pull(a, b)).toBe(1);
    await expectEqual(a, b);
  });

  it('trap 12: positions go on past 2^32 transactions', async () => {
    await using server = await startServer();
    await using b = await storeNode('b', numbered);
    const database = await server.createDatabase();
    await database.sql(`${numbered} INSERT INTO t VALUES (1, 1)`);
    const before = await openStore(database, 'a');
    await pull({ store: before, id: 'a' }, b);
    await database.sql('INSERT INTO t VALUES (2, 2)');
    await before.close();
    await database.pool.end();
    await server.server.stop();
    advanceTransactionIds(server.server.dataDir, 1n << 32n);
    await using again = await EmbeddedServer.start({ dataDir: server.server.dataDir });
    const client = new Client(again.url(database.name));
    await client.connect();
    const store = await PostgresStore.open({ url: again.url(database.name), nodeId: 'a', tables: ['*'] });
    try {
      expect(store.identity.epoch).toBe(before.identity.epoch);
      await client.query('INSERT INTO t VALUES (3, 3); UPDATE t SET x = 9 WHERE id = 1');
      const { rows } = await client.query<{ xid: string }>('SELECT max(xid::text::int8) AS xid FROM p2p.meta_1');
      expect(BigInt(rows[0]!.xid)).toBeGreaterThan(1n << 32n);
      expect(await pull({ store, id: 'a' }, b)).toBe(3);
      expect(await b.sql('SELECT id, x FROM t ORDER BY id')).toEqual(
        (await client.query('SELECT id, x FROM t ORDER BY id')).rows,
      );
      expect(await pull({ store, id: 'a' }, b)).toBe(0);
    } finally {
      await store.close();
      await client.end();
    }
  });

  describe('trap 30: writes past the ordinary triggers', () => {
    it('in replica role are captured; a delete under DISABLE TRIGGER is told as one when its row is asked for, and blocks nothing', async () => {
      await using a = await storeNode('a', numbered);
      await using b = await storeNode('b', numbered);
      await settle(a, b);
      await a.sql(
        `BEGIN; SET LOCAL session_replication_role = replica; INSERT INTO t VALUES (1, 1), (2, 2), (3, 3); COMMIT`,
      );
      expect(await pull(a, b)).toBe(3);
      // Found again by comparing digests only: until something asks for the row, nobody can know.
      await a.sql('UPDATE t SET x = 20 WHERE id = 2');
      await a.sql(
        'ALTER TABLE t DISABLE TRIGGER p2p_delete; DELETE FROM t WHERE id = 2; ALTER TABLE t ENABLE ALWAYS TRIGGER p2p_delete',
      );
      await a.sql('INSERT INTO t VALUES (4, 4)');
      const holder = await a.db.pool.connect();
      await holder.query('BEGIN; INSERT INTO t VALUES (5, 5)');
      await expect(pull(a, b)).rejects.toThrow('It is read anew');
      expect(await b.sql('SELECT id, x FROM t WHERE id = 2')).toEqual([{ id: 2, x: 2 }]);
      expect(await pull(a, b)).toBe(2);
      await holder.query('COMMIT');
      holder.release();
      await settle(a, b);
      expect(await b.sql('SELECT id FROM t ORDER BY id')).toEqual([1, 3, 4, 5].map((id) => ({ id })));
      await expectEqual(a, b);
      await a.sql('ALTER TABLE t DISABLE TRIGGER ALL');
      await a.store.keepUp(); // sees to it that capture goes on
      await a.sql('INSERT INTO t VALUES (6, 6)');
      expect(await pull(a, b)).toBe(1);
    });

    it("by PostgreSQL's own logical replication are captured", async () => {
      await using server = await startServer({ wal_level: 'logical', synchronous_commit: 'on' });
      await using publisher = await server.createDatabase();
      await publisher.sql(`${numbered} INSERT INTO t VALUES (1, 1), (2, 2)`);
      await publisher.sql('CREATE PUBLICATION p FOR TABLE t');
      await publisher.sql(`SELECT pg_create_logical_replication_slot('s_${publisher.name}', 'pgoutput')`);
      await using a = await storeNode('a', numbered, ['*'], { base: server.url() });
      await using b = await storeNode('b', numbered);
      await settle(a, b);
      await a.sql(
        `CREATE SUBSCRIPTION s CONNECTION '${publisher.url}' PUBLICATION p WITH (create_slot = false, slot_name = 's_${publisher.name}')`,
      );
      try {
        await publisher.sql(
          'UPDATE t SET x = 10 WHERE id = 1; INSERT INTO t VALUES (3, 3); DELETE FROM t WHERE id = 2',
        );
        const wanted = await publisher.sql('SELECT * FROM t ORDER BY id');
        for (const until = Date.now() + 30_000; Date.now() < until; await sleep(50)) {
          await pull(a, b);
          if (JSON.stringify(await b.sql('SELECT * FROM t ORDER BY id')) === JSON.stringify(wanted)) break;
        }
        expect(await b.sql('SELECT * FROM t ORDER BY id')).toEqual(wanted);
        await expectEqual(a, b);
      } finally {
        await a.sql('ALTER SUBSCRIPTION s DISABLE');
        await a.sql('ALTER SUBSCRIPTION s SET (slot_name = NONE)');
        await a.sql('DROP SUBSCRIPTION s');
      }
    });
  });

  it('trap 34: a write prepared before a crash and committed after it succeeds, is fed, and wakes the reader', async () => {
    const settings = { max_prepared_transactions: '10', fsync: 'on', synchronous_commit: 'on' };
    await using server = await startServer(settings);
    await using b = await storeNode('b', numbered);
    const database = await server.createDatabase();
    await database.sql(numbered);
    const before = await openStore(database, 'a');
    await pull({ store: before, id: 'a' }, b);
    await database.sql(`BEGIN; INSERT INTO t VALUES (1, 1); PREPARE TRANSACTION 'two-phase'`);
    await database.sql('INSERT INTO t VALUES (2, 2)');
    expect(await pull({ store: before, id: 'a' }, b)).toBe(1);
    process.kill(server.server.pid, 'SIGQUIT');
    await before.close();
    await database.pool.end();
    await server.server.stop();
    await using again = await EmbeddedServer.start({ dataDir: server.server.dataDir, settings });
    const client = new Client(again.url(database.name));
    await client.connect();
    const store = await PostgresStore.open({ url: again.url(database.name), nodeId: 'a', tables: ['*'] });
    try {
      const woken = new Promise<string>((resolve) => store.feed.onNews(() => resolve('woken')));
      expect(await pull({ store, id: 'a' }, b)).toBe(0);
      await client.query(`COMMIT PREPARED 'two-phase'`);
      expect(await Promise.race([woken, sleep(10_000, 'asleep')])).toBe('woken');
      expect(await pull({ store, id: 'a' }, b)).toBe(1);
      expect(await b.sql('SELECT id FROM t ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }]);
    } finally {
      await store.close();
      await client.end();
    }
  });

  it('what a crash may take back is not told: neither rows nor cursors run ahead of the log', async () => {
    const settings = { fsync: 'on', synchronous_commit: 'off', wal_writer_delay: '10s' };
    await using server = await startServer(settings);
    await using b = await storeNode('b', numbered);
    const database = await server.createDatabase();
    await database.sql(numbered);
    const before = await openStore(database, 'a');
    for (let i = 1; i <= 20; i++) await database.sql(`INSERT INTO t VALUES (${i}, 1)`);
    // Transaction ids of which nothing is left but the cursor.
    for (let i = 0; i < 20; i++) await database.sql('BEGIN; SELECT pg_current_xact_id(); ROLLBACK');
    expect(await pull({ store: before, id: 'a' }, b)).toBe(20);
    const shape = before.find('t')!;
    for (let i = 0; i < 20; i++) await database.sql('BEGIN; SELECT pg_current_xact_id(); ROLLBACK');
    const { cursor } = await before.changes(shape, { limit: 100 });
    process.kill(server.server.pid, 'SIGQUIT');
    await before.close();
    await database.pool.end();
    await server.server.stop();
    await using again = await EmbeddedServer.start({ dataDir: server.server.dataDir, settings });
    const client = new Client(again.url(database.name));
    await client.connect();
    const store = await PostgresStore.open({ url: again.url(database.name), nodeId: 'a', tables: ['*'] });
    try {
      expect((await client.query('SELECT FROM t')).rowCount).toBe(20);
      await client.query('INSERT INTO t VALUES (21, 1)');
      expect(await pull({ store, id: 'a' }, b)).toBe(1);
      expect((await store.changes(shape, { cursor, limit: 100 })).count).toBe(1);
      expect(await b.sql('SELECT count(*)::int AS n FROM t')).toEqual([{ n: 21 }]);
    } finally {
      await store.close();
      await client.end();
    }
  });

  it('trap 34: every commit of 8 writers wakes a reader, though writers notify only while it sleeps', async () => {
    await using a = await storeNode('a', wide);
    await using b = await storeNode('b', wide);
    await settle(a, b);
    let news = 0;
    a.store.feed.onNews(() => news++);
    const writer = async (w: number) => {
      for (let i = 0; i < 20; i++) {
        await a.sql(`INSERT INTO t VALUES (${w * 100 + i}, 'x')`);
        if (i % 5 === 4) await sleep(Math.random() * 30);
      }
    };
    await Promise.all(Array.from({ length: 8 }, (_, w) => writer(w)));
    await sleep(200);
    expect(await pull(a, b)).toBe(160);
    // At rest, each single commit is told.
    for (let i = 0; i < 5; i++) {
      const told = news;
      await a.sql(`UPDATE t SET x = 'y${i}' WHERE id = 1`);
      for (const until = Date.now() + 10_000; news === told && Date.now() < until;) await sleep(2);
      expect(news).toBeGreaterThan(told);
      await sleep(100);
    }
  });
});
