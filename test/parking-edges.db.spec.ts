import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { expectEqual, pull, settle, type StoreNode, storeNode } from './support/store-node';

async function withNodes(
  schema: string,
  work: (a: StoreNode, b: StoreNode) => Promise<void>,
  tables?: readonly string[],
): Promise<void> {
  await using a = await storeNode('a', schema, tables);
  await using b = await storeNode('b', schema, tables);
  await work(a, b);
}

/** The parked rows, each as its key and the reason. */
async function parked({ store }: StoreNode): Promise<string[]> {
  const { parked: all } = await store.parked.list({ limit: 100 });
  return all.map(({ key, reason }) => `${Object.values(key).join(' ')} ${reason}`).sort();
}

async function until(what: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (await what()) return;
    await sleep(50);
  }
  throw new Error('It did not come to that within ten seconds');
}

/** Does the work; the first statement that `text` matches waits for `before`. */
async function interrupting<T>(text: RegExp, before: () => Promise<void>, work: () => Promise<T>): Promise<T> {
  const { prototype } = Client as unknown as { prototype: { query: (...args: unknown[]) => unknown } };
  const { query } = prototype;
  let came = false;
  prototype.query = function (this: unknown, ...args: unknown[]) {
    const [first] = args as [string | { text?: string }];
    if (came || !text.test(typeof first === 'string' ? first : (first.text ?? ''))) return query.apply(this, args);
    came = true;
    return before().then(() => query.apply(this, args));
  };
  try {
    return await work();
  } finally {
    prototype.query = query;
    expect(came).toBe(true);
  }
}

/** Begins to put rows that were lifted back into their table. */
const putBack = /WITH kept AS [^]*DELETE FROM public\.c /;

/** Begins a statement of a user's, and comes back when it waits for a lock. */
async function beginWaiting({ db, sql }: StoreNode, text: string): Promise<{ outcome: Promise<string> }> {
  const outcome = db.pool.query(text).then(
    ({ rowCount }) => `${rowCount}`,
    (error: { code: string }) => error.code,
  );
  await until(
    async () =>
      (
        await sql(
          `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query = '${text}'`,
        )
      ).length > 0,
  );
  return { outcome };
}

describe('Rows that are lifted while users write', () => {
  it('trap 25: a parent cannot be deleted while its child is lifted, which stood and will stand', () =>
    withNodes(
      `CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p, k text UNIQUE, j text UNIQUE)`,
      async (a, b) => {
        // 3 draws 1, which has its key, and loses another key to 2: then 1 is put back as it was.
        await b.sql(`INSERT INTO p VALUES (1); INSERT INTO c VALUES (1, 1, 'k', NULL)`);
        await a.sql(`INSERT INTO c VALUES (3, NULL, 'k', 'j')`);
        await b.sql(`INSERT INTO c VALUES (2, NULL, NULL, 'j')`);
        let user: { outcome: Promise<string> } | null = null;
        const begin = async () => {
          user = await beginWaiting(b, 'DELETE FROM p WHERE id = 1');
        };
        await interrupting(putBack, begin, () => pull(a, b));
        expect(await user!.outcome).toBe('23503');
        expect(await b.sql('SELECT id FROM c ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }]);
        expect(await parked(b)).toEqual(['3 key']);
      },
    ));

  it('a write that waits for a lifted row goes on with it', () =>
    withNodes('CREATE TABLE c (id int PRIMARY KEY, k text UNIQUE, j text UNIQUE, n int)', async (a, b) => {
      await b.sql(`INSERT INTO c VALUES (1, 'k', NULL, 1)`);
      await a.sql(`INSERT INTO c VALUES (3, 'k', 'j', 3)`);
      await b.sql(`INSERT INTO c VALUES (2, NULL, 'j', 2)`);
      let user: { outcome: Promise<string> } | null = null;
      const begin = async () => {
        user = await beginWaiting(b, 'UPDATE c SET n = n + 10 WHERE id = 1');
      };
      await interrupting(putBack, begin, () => pull(a, b));
      expect(await user!.outcome).toBe('1');
      expect(await b.sql('SELECT id, n FROM c ORDER BY id')).toEqual([
        { id: 1, n: 11 },
        { id: 2, n: 2 },
      ]);
    }));
});

describe('Rows that refer to others', () => {
  it('trap 25: a row that waits for one of a table that is not shared is back when that is there', () =>
    withNodes(
      `CREATE TABLE "P x" ("A b" int, b varchar(9), PRIMARY KEY (b, "A b")); CREATE TABLE c (id int PRIMARY KEY, x bigint, y text, FOREIGN KEY (x, y) REFERENCES "P x" ("A b", b))`,
      async (a, b) => {
        await a.sql(`INSERT INTO "P x" VALUES (1, 'x'), (2, 'y'); INSERT INTO c VALUES (1, 1, 'x'), (2, 2, 'y')`);
        await pull(a, b);
        expect(await parked(b)).toEqual(['1 reference', '2 reference']);
        await b.sql(`INSERT INTO "P x" VALUES (1, 'x'), (2, 'x')`);
        await until(async () => {
          await b.store.keepUp();
          return (await b.sql('SELECT FROM c')).length > 0;
        });
        expect(await parked(b)).toEqual(['2 reference']);
      },
      ['public.c'],
    ));

  it('trap 25: a long chain of rows that refer to one another goes and comes back', () =>
    withNodes(
      'CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE s (id int PRIMARY KEY, before int REFERENCES s, p int REFERENCES p)',
      async (a, b) => {
        await a.sql('INSERT INTO p VALUES (1)');
        await settle(a, b);
        await b.sql('DELETE FROM p');
        await a.sql(
          'INSERT INTO s SELECT i, nullif(i - 1, 0), CASE i WHEN 1 THEN 1 END FROM generate_series(1, 500) AS i',
        );
        await settle(a, b);
        expect(await a.store.parked.count()).toEqual({ 'public.s': 500 });
        await b.sql('INSERT INTO p VALUES (1)');
        await settle(a, b);
        await expectEqual(a, b);
        expect((await a.sql('SELECT FROM s')).length).toBe(500);
      },
    ));
});

describe('Tables that take rows in their own way', () => {
  it('trap 26: a partition has a unique index of its own', () =>
    withNodes(
      `CREATE TABLE t (id int PRIMARY KEY, m text, n int) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100);
       CREATE TABLE t2 PARTITION OF t DEFAULT; CREATE UNIQUE INDEX ON t1 (m); CREATE UNIQUE INDEX ON t2 ((lower(m))) WHERE n > 0`,
      async (a, b) => {
        await a.sql(`INSERT INTO t VALUES (1, 'x', 1), (101, 'x', 1), (103, 'y', 0)`);
        await b.sql(`INSERT INTO t VALUES (2, 'x', 1), (102, 'X', 1), (104, 'Y', 0)`);
        await settle(a, b);
        await expectEqual(a, b);
        expect(await parked(a)).toEqual(['1 key', '101 key']);
        await b.sql('DELETE FROM t WHERE id IN (2, 102)');
        await settle(a, b);
        expect(await parked(a)).toEqual([]);
        expect((await b.sql('SELECT FROM t')).length).toBe(4);
      },
    ));

  it.each(['P0001', 'P0002', 'PT402', 'UE001', '38000'])(
    'trap 39: a trigger raises %s: the row is parked, the others stand',
    (code) =>
      withNodes('CREATE TABLE t (id int PRIMARY KEY, m text)', async (a, b) => {
        await b.sql(
          `CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.m = 'bad' THEN RAISE 'no' USING ERRCODE = '${code}'; END IF; RETURN NEW; END $$;
           CREATE TRIGGER f BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f(); ALTER TABLE t ENABLE ALWAYS TRIGGER f`,
        );
        await a.sql(`INSERT INTO t VALUES (1, 'x'), (2, 'bad'), (3, 'y')`);
        await pull(a, b);
        expect(await parked(b)).toEqual(['2 refused']);
        expect(await b.sql('SELECT id FROM t ORDER BY id')).toEqual([{ id: 1 }, { id: 3 }]);
      }),
  );

  it('trap 39: a trigger leaves a row out: it is parked, the others stand', () =>
    withNodes('CREATE TABLE t (id int PRIMARY KEY, m text UNIQUE)', async (a, b) => {
      await b.sql(
        `CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN NEW.m <> 'bad' THEN NEW END; END $$;
         CREATE TRIGGER f BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f(); ALTER TABLE t ENABLE ALWAYS TRIGGER f`,
      );
      await a.sql(`INSERT INTO t VALUES (1, 'x'), (2, 'bad'), (3, 'y')`);
      await pull(a, b);
      expect(await parked(b)).toEqual(['2 refused']);
      await a.sql(`UPDATE t SET m = 'good' WHERE id = 2; UPDATE t SET m = 'bad' WHERE id = 3`);
      await pull(a, b);
      expect(await parked(b)).toEqual(['3 refused']);
      expect(await b.sql('SELECT id FROM t ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }]);
    }));
});

describe('Columns that are renamed and dropped', () => {
  it('trap 32: a parked row, a sibling and the history keep their values under the new name', () =>
    withNodes('CREATE TABLE t (id int PRIMARY KEY, m text UNIQUE, v text, x text)', async (a, b) => {
      await a.sql(`INSERT INTO t VALUES (1, 'x', 'precious', 'gone'), (5, NULL, 'shared', NULL)`);
      await b.sql(`INSERT INTO t VALUES (2, 'x', 'other', NULL)`);
      await settle(a, b);
      await a.sql(`UPDATE t SET v = 'of a' WHERE id = 5`);
      await b.sql(`UPDATE t SET v = 'of b' WHERE id = 5`);
      await settle(a, b);
      for (const { sql } of [a, b]) await sql('ALTER TABLE t RENAME v TO w; ALTER TABLE t DROP x');
      // At once: nothing of it may be looked at before the names have been followed.
      await b.sql('DELETE FROM t WHERE id = 2');
      await pull(b, a).catch(() => undefined);
      for (const { store } of [a, b]) await store.keepUp();
      for (const { store } of [a, b]) await store.settleParked();
      await settle(a, b);
      await expectEqual(a, b);
      expect(await a.sql('SELECT * FROM t ORDER BY id')).toEqual([
        { id: 1, m: 'x', w: 'precious' },
        { id: 5, m: null, w: 'of b' },
      ]);
      expect(await a.sql(`SELECT siblings #>> '{0,image,w}' AS w FROM p2p.meta_1 WHERE siblings IS NOT NULL`)).toEqual([
        { w: 'of a' },
      ]);
    }));
});
