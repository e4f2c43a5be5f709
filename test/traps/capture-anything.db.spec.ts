import { setTimeout as sleep } from 'node:timers/promises';
import { contents, expectEqual, pull, settle, storeNode } from '../support/store-node';

/** What users do to their own tables: none of it may make a write of theirs fail, or go unnoticed (P1, P3). */
describe('Capture of any table', () => {
  it('is not confused by names', async () => {
    const long = `"${'ü'.repeat(31)}x"`; // 63 bytes
    const schema = `CREATE SCHEMA "my ""odd"" schéma";
      CREATE TABLE "my ""odd"" schéma".${long} (mode int, here text, n int, o int, d int, m int, excluded int, stamp int, key1 int, now_us int, old_rows int,
        "a ""b"" 'c' \\ {{d}} %s $1" int, deleted bool, xid int, siblings int, via int, origin text, l int, s int, PRIMARY KEY (key1, mode, here, "a ""b"" 'c' \\ {{d}} %s $1"));
      CREATE TABLE new_rows (n int PRIMARY KEY, o int, m int); CREATE TABLE "m" ("excluded" text PRIMARY KEY, d int);`;
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    const odd = `"my ""odd"" schéma".${long}`;
    await a.sql(
      `INSERT INTO ${odd} (mode, here, key1, "a ""b"" 'c' \\ {{d}} %s $1", n) SELECT i, 'x', i, i, i FROM generate_series(1, 5) AS i`,
    );
    await a.sql(
      `UPDATE ${odd} SET n = 10, mode = 9 WHERE key1 = 1; UPDATE ${odd} SET excluded = 1, stamp = 2, d = 3 WHERE key1 = 2; DELETE FROM ${odd} WHERE key1 = 3`,
    );
    await a.sql(
      `INSERT INTO new_rows VALUES (1, 1, 1), (2, 2, 2); UPDATE new_rows SET m = 5; DELETE FROM new_rows WHERE n = 2`,
    );
    await a.sql(`INSERT INTO m VALUES ('a', 1), ('b', 2); UPDATE m SET excluded = 'c' WHERE d = 2`);
    await settle(a, b);
    expect((await contents(b, b.store.tables()[0]!)).rows.length).toBe(4);
    await expectEqual(a, b);
    await b.sql(`TRUNCATE ${odd}; TRUNCATE new_rows, m`);
    await settle(a, b);
    await expectEqual(a, b);
  });

  it.each([
    ['text COLLATE nocase', `'Key'`, `'KEY'`],
    ['numeric', '1.0', '1.00'],
    ['numeric(5,2)', '1.5', '1.51'],
    ['mood', `'sad'`, `'glad'`],
    ['short', `'a'`, `'b'`],
    ['pair', `'(1,a)'`, `'(1.0,a)'`],
    ['int4range', `'[1,5)'`, `'[1,6)'`],
    ['int[]', `'{1,NULL}'`, `'{1,2}'`],
    ['float8', `'NaN'`, `'-0'`],
    ['bytea', `'\\x00'`, `'\\x0000'`],
    ['jsonb', `'{"a": 1}'`, `'{"a": 1.0}'`],
    ['char(4)', `'a'`, `'b'`],
    ['varchar(4)', `'a'`, `'b'`],
    ['"char"', `'a'`, `'b'`],
    ['name', `'a'`, `'b'`],
    ['bit(4)', `B'0001'`, `B'0010'`],
    ['inet', `'10.0.0.1/8'`, `'10.0.0.1'`],
    ['interval', `'24 hours'`, `'1 day'`],
    ['timetz', `'12:00+01'`, `'11:00+00'`],
    ['money', '1.5', '2.5'],
    ['bool', 'true', 'false'],
    ['tsvector', `'a'`, `'b'`],
    ['oid', '1', '4294967295'],
    ['macaddr8', `'08:00:2b:01:02:03:04:05'`, `'08:00:2b:01:02:03:04:06'`],
  ])('takes keys of type %s', async (type, first, second) => {
    const schema = `CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false); CREATE TYPE mood AS ENUM ('sad', 'glad');
      CREATE DOMAIN short AS varchar(10) CHECK (length(value) < 5); CREATE TYPE pair AS (a numeric, b text); CREATE TABLE t (id ${type} PRIMARY KEY, x int);`;
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await settle(a, b);
    await a.sql(`INSERT INTO t VALUES (${first}, 1)`);
    await settle(a, b);
    await a.sql(`UPDATE t SET id = ${second}`);
    await settle(a, b);
    await expectEqual(a, b);
    await b.sql('DELETE FROM t');
    await settle(a, b);
    expect(await a.sql('SELECT x FROM t')).toEqual([]);
    expect(await pull(a, b)).toBe(0);
  });

  it("follows users' triggers that write, delete and insert the same rows again, rules, and cascades", async () => {
    const schema = `CREATE TABLE t (id int PRIMARY KEY, x int, note text);
      CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF pg_trigger_depth() > 1 THEN RETURN NULL; END IF;
        IF TG_OP <> 'DELETE' AND new.x = 1 THEN UPDATE t SET note = 'touched' WHERE id = new.id; END IF;
        IF TG_OP <> 'DELETE' AND new.x = 2 THEN DELETE FROM t WHERE id = new.id; END IF;
        IF TG_OP <> 'DELETE' AND new.x = 3 THEN DELETE FROM t WHERE id = new.id; INSERT INTO t VALUES (new.id, 30, 'again'); END IF;
        IF TG_OP = 'DELETE' AND old.x = 4 THEN INSERT INTO t VALUES (old.id, 40, 'undead'); END IF;
        IF TG_OP <> 'DELETE' AND new.x = 5 THEN UPDATE t SET id = new.id + 100 WHERE id = new.id; END IF;
        RETURN NULL; END $$;
      CREATE TRIGGER meddle AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION meddle();
      CREATE TABLE seen (id int PRIMARY KEY, n int); CREATE RULE seen AS ON UPDATE TO t DO ALSO INSERT INTO seen VALUES (new.id, 1) ON CONFLICT (id) DO UPDATE SET n = seen.n + 1;
      CREATE TABLE a1 (id int PRIMARY KEY); CREATE TABLE a2 (id int PRIMARY KEY, up int REFERENCES a1 ON DELETE CASCADE ON UPDATE CASCADE);
      CREATE TABLE a3 (id int PRIMARY KEY, up int REFERENCES a2 ON DELETE CASCADE); CREATE TABLE a4 (id int PRIMARY KEY, up int REFERENCES a3 ON DELETE SET NULL, self int REFERENCES a4 ON DELETE CASCADE);`;
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await a.sql('INSERT INTO t SELECT i, i FROM generate_series(1, 6) AS i');
    await settle(a, b);
    await expectEqual(a, b);
    await a.sql('DELETE FROM t WHERE id = 4; UPDATE t SET x = 1 + (id * 7) % 5');
    await a.sql(`BEGIN; SAVEPOINT s; UPDATE t SET x = 3; ROLLBACK TO s; UPDATE t SET x = 1; COMMIT`);
    await a.sql(
      'INSERT INTO a1 VALUES (1), (2); INSERT INTO a2 VALUES (1, 1), (2, 2); INSERT INTO a3 VALUES (1, 1), (2, 2); INSERT INTO a4 VALUES (1, 1, NULL), (2, 2, 1), (3, NULL, 2)',
    );
    await settle(a, b);
    await expectEqual(a, b);
    await a.sql('UPDATE a1 SET id = 10 WHERE id = 2; DELETE FROM a1 WHERE id = 1; DELETE FROM a4 WHERE id = 1');
    await settle(a, b);
    expect(await b.sql('SELECT id FROM a2')).toEqual([{ id: 2 }]);
    await expectEqual(a, b);
  });

  it('goes on under writers in every isolation level while keys and tables are renamed, retyped and moved', async () => {
    const schema = 'CREATE TABLE t (id int PRIMARY KEY, x int); CREATE SCHEMA other;';
    const errors: string[] = [];
    await using a = await storeNode('a', schema, ['*'], { onError: (error) => errors.push(error.message) });
    await using b = await storeNode('b', schema);
    await settle(a, b);
    let stop = false;
    let written = 0;
    // Writers whose program does not know the new names go on through a view, which follows them.
    await a.sql('CREATE VIEW v AS SELECT id, x FROM t');
    const writer = async (w: number, level: string) => {
      const client = await a.db.pool.connect();
      try {
        for (let i = 0; !stop; i++) {
          const id = w * 1_000_000 + i;
          await client.query(`BEGIN ISOLATION LEVEL ${level}`);
          await client.query('SELECT 1');
          if (i % 7 === 0) await sleep(5);
          await client.query(`INSERT INTO v (id, x) VALUES (${id}, ${i})`);
          await client.query(`UPDATE v SET x = -1 WHERE id = ${id - 1}`);
          await client.query(`DELETE FROM v WHERE id = ${id - 2} AND ${i} % 2 = 0`);
          await client.query('COMMIT');
          written++;
        }
      } finally {
        client.release(true);
      }
    };
    const writers = ['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'].map((level, w) => writer(w + 1, level));
    const changes = [
      'ALTER TABLE t RENAME COLUMN id TO "the key"',
      'ALTER TABLE t ADD COLUMN y text DEFAULT $$y$$',
      'ALTER TABLE t RENAME TO t2',
      'ALTER TABLE t2 SET SCHEMA other',
      'ALTER SCHEMA other RENAME TO "an other"',
      'ALTER TABLE "an other".t2 DROP COLUMN y',
      'ALTER SCHEMA "an other" RENAME TO other',
      'ALTER TABLE other.t2 RENAME TO t',
      'ALTER TABLE other.t SET SCHEMA public',
      'ALTER TABLE t RENAME COLUMN "the key" TO id',
    ];
    const alterTable = async (change: string) => {
      const before = written;
      await a.sql(change);
      for (const until = Date.now() + 10_000; written < before + 10 && Date.now() < until;) await sleep(5);
      if (change.includes('"an other".t2')) await a.store.keepUp();
    };
    try {
      for (const change of changes) await alterTable(change);
    } finally {
      stop = true;
      await Promise.allSettled(writers);
    }
    await Promise.all(writers); // none of their writes failed
    await a.store.keepUp();
    expect(await a.sql('SELECT count(*)::int AS n FROM p2p.unversioned')).toEqual([{ n: 0 }]);
    await settle(a, b);
    await expectEqual(a, b);
    expect(errors).toEqual([]);
  });

  it('lets a transaction write a row whose version changed behind its snapshot, and no window comes before that write', async () => {
    const schema = 'CREATE TABLE t (id int PRIMARY KEY, x text); ';
    await using a = await storeNode('a', `${schema} INSERT INTO t VALUES (1, 'first')`);
    await using b = await storeNode('b', schema);
    await settle(a, b);
    await b.sql(`UPDATE t SET x = 'of b'`);
    const old = await a.db.pool.connect();
    await old.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
    await a.sql('UPDATE p2p.meta_1 SET via = via');
    await old.query(`UPDATE t SET x = 'of a'`);
    await old.query('COMMIT');
    old.release();
    expect(await a.sql('SELECT image FROM p2p.unversioned')).toHaveLength(2);
    expect(await pull(b, a)).toBe(1);
    await settle(a, b);
    await expectEqual(a, b);
    const [row] = await a.sql<{ x: string; others: number }>(
      'SELECT x, (SELECT jsonb_array_length(siblings) FROM p2p.meta_1) AS others FROM t',
    );
    expect(row).toEqual({ x: 'of a', others: 1 });
  });

  it('follows a key to another type, to other columns, and through the time that there is none', async () => {
    const schema = `CREATE TABLE t (id int PRIMARY KEY, x int); INSERT INTO t SELECT i, i FROM generate_series(1, 3) AS i; CREATE TABLE u (id int PRIMARY KEY)`;
    const errors: string[] = [];
    await using a = await storeNode('a', schema, ['*'], { onError: (error) => errors.push(error.message) });
    await using b = await storeNode('b', schema);
    await settle(a, b);
    for (const node of [a, b]) await node.sql('ALTER TABLE t ALTER COLUMN id TYPE bigint');
    await a.sql('INSERT INTO t VALUES (10000000000, 4)'); // fits no integer
    await Promise.all([a.store.keepUp(), b.store.keepUp()]);
    await settle(a, b);
    expect((await contents(b, 't')).rows.length).toBe(4);
    await expectEqual(a, b);
    // Without a key, anything may be written; it waits.
    await a.sql('ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ALTER COLUMN id DROP NOT NULL');
    await a.sql('INSERT INTO t VALUES (NULL, 1), (NULL, 2), (5, 3), (5, 4)');
    await a.store.keepUp();
    expect(errors).toEqual([expect.stringContaining('public.t has lost its primary key')]);
    await a.sql('INSERT INTO u VALUES (1)');
    expect(await pull(a, b)).toBe(1); // the others go on
    await a.sql('DELETE FROM t WHERE id IS NULL');
    for (const node of [a, b]) {
      await node.sql('ALTER TABLE t DROP CONSTRAINT IF EXISTS t_pkey; ALTER TABLE t ADD PRIMARY KEY (id, x)');
      await node.store.keepUp();
    }
    await settle(a, b);
    expect((await contents(b, 't')).rows.length).toBe(6);
    expect((await contents(b, 't')).rows).toEqual((await contents(a, 't')).rows);
    expect(errors.length).toBe(1);
    await a.sql('DROP TABLE u');
    await a.store.keepUp();
    expect(errors.at(-1)).toContain('public.u was dropped');
    expect(a.store.tables()).toEqual(['public.t']);
  });

  it('begins anew with a key that is another column of the same type, and goes on with one that is renamed', async () => {
    const schema = `CREATE TABLE t (i int PRIMARY KEY, j int NOT NULL); INSERT INTO t SELECT i, i + 100 FROM generate_series(1, 3) AS i`;
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await a.sql('DELETE FROM t WHERE i = 3');
    await settle(a, b);
    const stamps = `SELECT key1, stamp FROM p2p.meta_1 ORDER BY key1`;
    const before = await a.sql(stamps);
    for (const node of [a, b]) {
      await node.sql('ALTER TABLE t RENAME i TO renamed');
      await node.store.keepUp();
    }
    expect(await a.sql(stamps)).toEqual(before);
    for (const node of [a, b]) {
      await node.sql('ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (j)');
      await node.store.keepUp();
    }
    await a.sql('UPDATE t SET renamed = 7 WHERE j = 101');
    await b.sql('DELETE FROM t WHERE j = 102');
    await settle(a, b);
    expect(await b.sql('SELECT renamed, j FROM t')).toEqual([{ renamed: 7, j: 101 }]);
    await expectEqual(a, b);
    expect(await a.sql('SELECT key1, deleted FROM p2p.meta_1 ORDER BY key1')).toEqual([
      { key1: 101, deleted: false },
      { key1: 102, deleted: true },
    ]);
  });
});
