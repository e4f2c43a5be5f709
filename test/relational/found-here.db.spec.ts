import { rulesOf } from '@pgmesh/core';
import { expectEqual, pull, settle, type StoreNode, storeNode } from '../support/store-node';

async function withNodes(
  schema: string,
  strategy: string,
  work: (a: StoreNode, b: StoreNode, c: StoreNode) => Promise<void>,
): Promise<void> {
  const rules = rulesOf([{ strategy }]);
  if (!rules.ok) throw new Error(rules.problems.join(' '));
  const nodes = await Promise.all(['a', 'b', 'c'].map((id) => storeNode(id, schema, ['*'], { rules: rules.rules })));
  try {
    await work(...(nodes as [StoreNode, StoreNode, StoreNode]));
  } finally {
    for (const node of nodes) await node[Symbol.asyncDispose]();
  }
}

/** Everything is settled and exchanged, and the nodes are the same. */
async function together(...nodes: StoreNode[]): Promise<void> {
  for (let i = 0; i < 3; i++) {
    for (const { store } of nodes) await store.settleParked();
    await settle(...nodes);
  }
  await expectEqual(...nodes);
}

const users = 'CREATE TABLE users (id int PRIMARY KEY, mail text UNIQUE, name text)';

describe('Faults that generated relational histories have found', () => {
  it('a parked row with field stamps goes on to others, and returns with them', () =>
    withNodes(users, 'merge-fields', async (a, b, c) => {
      await a.sql(`INSERT INTO users VALUES (1, 'x', 'one')`);
      await a.sql(`UPDATE users SET name = 'two'`);
      await b.sql(`INSERT INTO users VALUES (2, 'x', 'three')`);
      await pull(a, b);
      await pull(b, c);
      expect(await c.sql('SELECT id FROM users')).toEqual([{ id: 2 }]);
      await b.sql('DELETE FROM users');
      await together(a, b, c);
      expect(await c.sql('SELECT id, name FROM users')).toEqual([{ id: 1, name: 'two' }]);
    }));

  it('a record of parking goes with the local write that ends it, though none is left', () =>
    withNodes(users, 'last-write-wins', async (a, b) => {
      await a.sql(`INSERT INTO users VALUES (1, 'x', NULL)`);
      await b.sql(`INSERT INTO users VALUES (2, 'x', NULL)`);
      await settle(a, b);
      expect((await a.sql('SELECT FROM p2p.parked')).length).toBe(1);
      await a.sql(`INSERT INTO users VALUES (1, 'y', NULL)`);
      await a.store.settleParked();
      expect(await a.sql('SELECT FROM p2p.parked')).toEqual([]);
    }));

  it('a composed row for which an index has no entry leaves its conflict open, whether or not other rows are parked', () =>
    withNodes(
      'CREATE TABLE t (id int PRIMARY KEY, n int, m int, u int UNIQUE, EXCLUDE USING gist (int4range(n, m) WITH &&))',
      'merge-fields',
      async (a, b, c) => {
        await a.sql('INSERT INTO t VALUES (1, 3, 6)');
        await together(a, b, c);
        await a.sql('UPDATE t SET n = 5');
        await b.sql('UPDATE t SET m = 4');
        await b.sql('INSERT INTO t VALUES (2, 10, 11, 1)');
        await c.sql('INSERT INTO t VALUES (3, 12, 13, 1)');
        await pull(b, c);
        await pull(a, c);
        await pull(b, a);
        expect(await a.sql('SELECT n, m FROM t WHERE id = 1')).toEqual([{ n: 3, m: 4 }]);
        await together(a, b, c);
        expect(await c.sql('SELECT n, m FROM t WHERE id = 1')).toEqual([{ n: 3, m: 4 }]);
      },
    ));

  it('a composed row that only a trigger refuses is parked, whether or not other rows are', () =>
    withNodes(
      `CREATE TABLE t (id int PRIMARY KEY, n int, m int, u int UNIQUE);
       CREATE FUNCTION ordered() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.n > NEW.m THEN RAISE EXCEPTION 'n is after m'; END IF; RETURN NEW; END $$;
       CREATE TRIGGER ordered BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION ordered(); ALTER TABLE t ENABLE ALWAYS TRIGGER ordered`,
      'merge-fields',
      async (a, b, c) => {
        await a.sql('INSERT INTO t VALUES (1, 3, 6)');
        await together(a, b, c);
        await a.sql('UPDATE t SET n = 5');
        await b.sql('UPDATE t SET m = 4');
        await b.sql('INSERT INTO t VALUES (2, 10, 11, 1)');
        await c.sql('INSERT INTO t VALUES (3, 12, 13, 1)');
        await pull(b, c);
        await pull(a, c);
        await pull(b, a);
        await together(a, b, c);
        const reasons = await a.sql('SELECT reason FROM p2p.parked ORDER BY reason');
        expect(reasons).toEqual([{ reason: 'key' }, { reason: 'refused' }]);
      },
    ));

  it('a write that meets a settlement finds its row, though it was lifted meanwhile', () =>
    withNodes(users, 'last-write-wins', async (a, b) => {
      await a.sql(`INSERT INTO users VALUES (1, 'x', 'one')`);
      await settle(a, b);
      await b.sql(`INSERT INTO users VALUES (2, 'z', 'two')`);
      await a.sql(`INSERT INTO users VALUES (3, 'z', 'three')`);
      await pull(a, b);
      await b.sql(
        `CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.3); RETURN NEW; END $$;
         CREATE TRIGGER slow BEFORE INSERT ON users FOR EACH ROW WHEN (NEW.id = 9) EXECUTE FUNCTION slow(); ALTER TABLE users ENABLE ALWAYS TRIGGER slow`,
      );
      await a.sql(`UPDATE users SET name = 'uno' WHERE id = 1; INSERT INTO users VALUES (9, 'nine', 'nine')`);
      const pulled = pull(a, b);
      for (const { rows } = { rows: 'SELECT FROM pg_stat_activity WHERE wait_event = $1' }; ;) {
        if ((await b.sql(rows, ['PgSleep'])).length > 0) break;
      }
      const { rowCount } = await b.db.pool.query(`UPDATE users SET name = 'eins' WHERE id = 1`);
      expect(rowCount).toBe(1);
      await pulled;
      await together(a, b);
      expect(await a.sql('SELECT name FROM users WHERE id = 1')).toEqual([{ name: 'eins' }]);
    }));

  it('a row for which a key cannot be computed does not stop its window, though the table is empty', () =>
    withNodes(
      'CREATE TABLE t (id int PRIMARY KEY, n int, m int, EXCLUDE USING gist (int4range(n, m) WITH &&))',
      'last-write-wins',
      async (a, b) => {
        await a.sql('ALTER TABLE t DROP CONSTRAINT t_int4range_excl');
        await a.sql('INSERT INTO t VALUES (1, 5, 1), (2, 1, 2), (3, 1, 3)');
        await pull(a, b);
        expect(await b.sql('SELECT id FROM t')).toEqual([{ id: 3 }]);
        const reasons = await b.sql('SELECT reason FROM p2p.parked ORDER BY key');
        expect(reasons).toEqual([{ reason: 'refused' }, { reason: 'key' }]);
      },
    ));

  it('siblings of a key whose collation ignores case are of one row, however each of them writes it', () =>
    withNodes(
      `CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
       CREATE TABLE t (id text COLLATE nocase PRIMARY KEY, n int)`,
      'merge-fields',
      async (a, b, c) => {
        await a.sql(`INSERT INTO t VALUES ('ann', 1)`);
        await b.sql(`INSERT INTO t VALUES ('ANN', 2)`);
        await pull(a, b);
        await pull(b, c);
        await together(a, b, c);
        expect(await c.sql('SELECT id, n FROM t')).toEqual([{ id: 'ANN', n: 2 }]);
      },
    ));

  it('a column of the key is compared by its own collation, not by that of another column', () =>
    withNodes(
      `CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
       CREATE TABLE t (one text, other text COLLATE nocase, PRIMARY KEY (one, other))`,
      'last-write-wins',
      async (a, b, c) => {
        await b.sql(`INSERT INTO t VALUES ('A', 'x')`);
        await b.sql(`UPDATE t SET one = 'a'`);
        expect(await b.sql('SELECT key1, deleted FROM p2p.meta_1 ORDER BY deleted')).toEqual([
          { key1: 'a', deleted: false },
          { key1: 'A', deleted: true },
        ]);
        await together(a, b, c);
      },
    ));
});
