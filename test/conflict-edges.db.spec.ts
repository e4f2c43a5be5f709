import { parseRules, type RowImage, type Rules } from '@pgmesh/core';
import { expectEqual, openStore, pull, settle, type StoreNode, storeNode } from './support/store-node';

function rules(text: string): Rules {
  const outcome = parseRules(text);
  if (!outcome.ok) throw new Error(outcome.problems.join('\n'));
  return outcome.rules;
}

const mergeFields = { rules: rules('merge-fields') };
const schema = `CREATE TABLE t (id int PRIMARY KEY, name text, qty int, doc jsonb)`;

async function nodes(ids: readonly string[], ddl = schema, told: object = mergeFields): Promise<StoreNode[]> {
  return Promise.all(ids.map((id) => storeNode(id, ddl, ['t'], told)));
}
async function close(all: readonly StoreNode[]): Promise<void> {
  await Promise.all(all.map((node) => node[Symbol.asyncDispose]()));
}
async function settledEqual(all: readonly StoreNode[]): Promise<void> {
  await settle(...all);
  await expectEqual(...all);
}
async function withNodes(count: number, ddl: string, told: object, work: (...all: StoreNode[]) => Promise<void>) {
  const all = await nodes(['a', 'b', 'c'].slice(0, count), ddl, told);
  try {
    await work(...all);
  } finally {
    await close(all);
  }
}

describe('A table with merge-fields that is altered', () => {
  it.each([
    ['DROP COLUMN qty', `UPDATE t SET name = 'x'`],
    ['RENAME COLUMN qty TO amount', `UPDATE t SET amount = 5`],
    [`RENAME COLUMN qty TO "q't $1 {{x}}"`, `UPDATE t SET name = 'x'`],
    ['ALTER COLUMN doc TYPE text', `UPDATE t SET doc = 'no json'`],
    ['ALTER COLUMN qty TYPE text', `UPDATE t SET qty = 'many'`],
    ['ADD COLUMN extra text', `UPDATE t SET extra = 'e'`],
  ])('takes writes at once after %s', async (alter, write) =>
    withNodes(1, schema, mergeFields, async (a) => {
      await a!.sql(`INSERT INTO t VALUES (1, 'n', 1, '{"a":1}')`);
      await a!.sql(`UPDATE t SET name = 'm', qty = 2`);
      await a!.sql(`ALTER TABLE t ${alter}`);
      await a!.sql(write);
    }),
  );

  it('knows of added columns', async () =>
    withNodes(2, schema, mergeFields, async (a, b) => {
      await a!.sql(`INSERT INTO t VALUES (1, 'n', 1, '{"a":1}')`);
      await settledEqual([a!, b!]);
      for (const { sql } of [a!, b!]) await sql(`ALTER TABLE t ADD COLUMN extra text`);
      for (const { store } of [a!, b!]) await store.keepUp();
      await a!.sql(`UPDATE t SET qty = 9`);
      await settledEqual([a!, b!]);
      await a!.sql(`UPDATE t SET extra = 'of a'`);
      await b!.sql(`UPDATE t SET name = 'of b'`);
      await settledEqual([a!, b!]);
      expect(await a!.sql(`SELECT name, extra FROM t`)).toEqual([{ name: 'of b', extra: 'of a' }]);
    }));

  it.each(['DROP COLUMN qty', 'RENAME COLUMN qty TO amount'])('still syncs after %s', async (alter) =>
    withNodes(3, schema, mergeFields, async (a, b, c) => {
      await a!.sql(`INSERT INTO t SELECT i, 'n', 1, '{"a":1}' FROM generate_series(1, 5) AS i`);
      await settledEqual([a!, b!]);
      await a!.sql(`UPDATE t SET name = 'm'`);
      await settledEqual([a!, b!]);
      // A set that is open, and one that is not sent yet.
      await a!.sql(`UPDATE t SET name = 'a' WHERE id = 2`);
      await b!.sql(`UPDATE t SET qty = 7 WHERE id = 2`);
      await settledEqual([a!, b!]);
      await a!.sql(`UPDATE t SET name = 'later' WHERE id = 3`);
      for (const { sql } of [a!, b!, c!]) await sql(`ALTER TABLE t ${alter}`);
      for (const { store } of [a!, b!, c!]) await store.keepUp();
      await settledEqual([a!, b!, c!]);
      await a!.sql(`UPDATE t SET name = 'x' WHERE id IN (1, 2)`);
      await b!.sql(`UPDATE t SET doc = '{"b":2}' WHERE id IN (1, 2)`);
      await settledEqual([a!, b!, c!]);
      expect([await pull(a!, b!), await pull(b!, a!)]).toEqual([0, 0]);
    }),
  );
});

describe('Composed rows', () => {
  it('that do not fit into an index leave the conflict open', async () =>
    withNodes(
      2,
      `CREATE TABLE t (id int PRIMARY KEY, x text, y text); CREATE INDEX ON t (x, y)`,
      mergeFields,
      async (a, b) => {
        await a!.sql(`INSERT INTO t VALUES (1, '', '')`);
        await settledEqual([a!, b!]);
        const long = `(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 60))`;
        await a!.sql(`UPDATE t SET x = ${long}`);
        await b!.sql(`UPDATE t SET y = ${long}`);
        await settledEqual([a!, b!]);
      },
    ));

  it('of a function that a CHECK raises in', async () =>
    withNodes(
      2,
      `CREATE FUNCTION fine(l int, h int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN IF l > h THEN RAISE 'no'; END IF; RETURN true; END $$;
       CREATE TABLE t (id int PRIMARY KEY, l int, h int, CHECK (fine(l, h)))`,
      mergeFields,
      async (a, b) => {
        await a!.sql(`INSERT INTO t VALUES (1, 1, 10)`);
        await settledEqual([a!, b!]);
        await a!.sql(`UPDATE t SET h = 3`);
        await b!.sql(`UPDATE t SET l = 5`);
        await settledEqual([a!, b!]);
      },
    ));

  it('with keys that are equal and differ are the same, whoever inserted first', async () => {
    const named = (key: readonly string[], a: { value: RowImage | null }) =>
      a.value && { ...a.value, id: key[0]!, x: key[0]! };
    const ddl = `CREATE TABLE t (id numeric PRIMARY KEY, x text, y text)`;
    await withNodes(2, ddl, { rules: rules('custom'), resolvers: { default: named } }, async (a, b) => {
      await a!.sql(`INSERT INTO t VALUES (1.0, 'a', NULL), (2.000, 'a', NULL)`);
      await b!.sql(`INSERT INTO t VALUES (1.00, NULL, 'b'), (2, 'a', NULL)`);
      await settle(a!, b!);
      expect(await b!.sql(`SELECT * FROM t ORDER BY 1`)).toEqual(await a!.sql(`SELECT * FROM t ORDER BY 1`));
      await settle(a!, b!);
      expect([await pull(a!, b!), await pull(b!, a!)]).toEqual([0, 0]);
      await expectEqual(a!, b!);
      await a!.sql(`UPDATE t SET id = 1.000 WHERE id = 1`);
      await settledEqual([a!, b!]);
      await b!.sql(`DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (2.0000)`);
      await settledEqual([a!, b!]);
      for (const node of [a!, b!])
        expect(await node.sql(`SELECT key1::text AS key FROM p2p.meta_1 ORDER BY key1`)).toEqual([
          { key: '1.000' },
          { key: '2.0000' },
        ]);
    });
  });

  it('that a resolver deletes, from picked versions, as a large copy', async () => {
    const pick = (key: readonly string[], a: { value: RowImage | null }, b: { value: RowImage | null }) =>
      Number(key[0]) % 3 === 0 ? null : Number(key[0]) % 3 === 1 ? a.value : b.value && { ...b.value, qty: '1.5' };
    const ddl = `CREATE TABLE t (id int PRIMARY KEY, name char(5), qty numeric(10,2), doc jsonb, json json, v varchar(3), g int GENERATED ALWAYS AS (id * 2) STORED, n int GENERATED ALWAYS AS IDENTITY)`;
    await withNodes(3, ddl, { rules: rules('custom'), resolvers: { default: pick } }, async (a, b, c) => {
      await a!.sql(
        `INSERT INTO t SELECT i, 'a', 1, '{"a": 1.00}', '{"a" :1}', 'abc' FROM generate_series(1, 3000) AS i`,
      );
      await b!.sql(`INSERT INTO t SELECT i, 'b', 2, NULL, NULL, 'x' FROM generate_series(1, 3000) AS i`);
      await settledEqual([a!, b!]);
      await settledEqual([a!, b!, c!]);
      expect(await c!.sql(`SELECT count(*)::int AS n FROM t`)).toEqual([{ n: 2000 }]);
      await c!.sql(`INSERT INTO t SELECT i, 'c', 3 FROM generate_series(3, 3000, 3) AS i`);
      await c!.sql(`UPDATE t SET qty = 4 WHERE id < 100`);
      await settledEqual([a!, b!, c!]);
      expect([await pull(a!, b!), await pull(b!, a!), await pull(b!, c!)]).toEqual([0, 0, 0]);
    });
  });

  it(
    'of many rows come as a first copy',
    async () =>
      withNodes(3, schema, mergeFields, async (a, b, c) => {
        await a!.sql(`INSERT INTO t SELECT i, repeat('x', 1000), 1, '{"a": 1}' FROM generate_series(1, 5000) AS i`);
        await settledEqual([a!, b!]);
        await a!.sql(`UPDATE t SET doc = doc || '{"b": 1}'`);
        await b!.sql(`UPDATE t SET doc = doc || '{"c": 1}', qty = 3`);
        await settledEqual([a!, b!]);
        await settledEqual([a!, b!, c!]);
        await c!.sql(`UPDATE t SET name = 'c' WHERE id < 1000`);
        await settledEqual([a!, b!, c!]);
      }),
    120_000,
  );

  it('shrink back to one version', async () =>
    withNodes(3, schema, mergeFields, async (a, b, c) => {
      await a!.sql(`INSERT INTO t VALUES (1, 'n', 1, '{"a":1}')`);
      await settledEqual([a!, b!, c!]);
      await a!.sql(`UPDATE t SET name = 'a'`);
      await b!.sql(`UPDATE t SET qty = 2`);
      await pull(a!, b!);
      await pull(b!, c!);
      await a!.sql(`UPDATE t SET name = 'a2'`);
      await pull(a!, c!);
      await c!.sql(`DELETE FROM t`);
      await b!.sql(`UPDATE t SET doc = NULL`);
      await settledEqual([a!, b!, c!]);
      expect([await pull(a!, b!), await pull(b!, c!), await pull(c!, a!)]).toEqual([0, 0, 0]);
    }));
});

describe('Rules', () => {
  it('hold for a set that a window brings while they change', async () =>
    withNodes(2, schema, { rules: rules('last-write-wins') }, async (a, b) => {
      await a!.sql(`INSERT INTO t VALUES (1, 'n', 1, NULL), (2, 'n', 1, NULL)`);
      await settledEqual([a!, b!]);
      await b!.sql(`UPDATE t SET name = 'first' WHERE id = 1`);
      await a!.sql(`UPDATE t SET name = 'second' WHERE id = 1`);
      // Holds the merge up between its judgement and its commit.
      const holder = await b!.db.pool.connect();
      await holder.query(`BEGIN; SELECT FROM p2p.tracked_table FOR UPDATE`);
      const pulled = pull(a!, b!);
      await new Promise((resolve) => setTimeout(resolve, 150));
      const changed = b!.store.setRules(rules('first-write-wins'));
      await new Promise((resolve) => setTimeout(resolve, 150));
      await holder.query('ROLLBACK');
      holder.release();
      await Promise.all([pulled, changed]);
      await a!.store.setRules(rules('first-write-wins'));
      await settledEqual([a!, b!]);
      expect(await b!.sql(`SELECT name FROM t WHERE id = 1`)).toEqual([{ name: 'first' }]);
    }));

  it('hold after a start with others that was cut off', async () => {
    const all = await nodes(['a', 'b'], schema, { rules: rules('last-write-wins') });
    const [a, b] = all as [StoreNode, StoreNode];
    try {
      await a.sql(`INSERT INTO t SELECT i, 'n', 1, NULL FROM generate_series(1, 2100) AS i`);
      await settledEqual(all);
      await b.sql(`UPDATE t SET name = 'first'`);
      await a.sql(`UPDATE t SET name = 'second'`);
      await settledEqual(all);
      await b.store.close();
      // As a process that ends in the middle.
      await b.sql(
        `CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id = 2050 THEN RAISE 'ended here' USING ERRCODE = '58000'; END IF; RETURN NEW; END $$`,
      );
      await b.sql(`CREATE TRIGGER stop BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION stop()`);
      await b.sql(`ALTER TABLE t ENABLE ALWAYS TRIGGER stop`);
      await expect(openStore(b.db, 'b', ['t'], { rules: rules('first-write-wins') })).rejects.toThrow('ended here');
      await b.sql(`DROP TRIGGER stop ON t`);
      const store = await openStore(b.db, 'b', ['t'], { rules: rules('last-write-wins') });
      try {
        await settledEqual([a, { ...b, store }]);
      } finally {
        await store.close();
      }
    } finally {
      await a[Symbol.asyncDispose]();
      await b.db[Symbol.asyncDispose]();
    }
  });

  it('that would show a version which the table no longer takes do not keep the node from starting', async () =>
    withNodes(2, schema, { rules: rules('last-write-wins') }, async (a, b) => {
      await a!.sql(`INSERT INTO t VALUES (1, 'n', 1, NULL)`);
      await settledEqual([a!, b!]);
      await a!.sql(`UPDATE t SET qty = -1`);
      await b!.sql(`UPDATE t SET qty = 5`);
      await settledEqual([a!, b!]);
      for (const { sql } of [a!, b!]) await sql(`ALTER TABLE t ADD CHECK (qty > 0)`);
      for (const { store } of [a!, b!]) await store.setRules(rules('first-write-wins'));
      await settledEqual([a!, b!]);
    }));
});

describe('Capture by field', () => {
  it('of nested writes, upserts, swaps of keys and old snapshots leaves all nodes with one row', async () =>
    withNodes(
      3,
      `CREATE TABLE t (id int, part int, name text, qty int, doc jsonb, seen int DEFAULT 0, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
       CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE t2 (doc jsonb, seen int DEFAULT 0, "gone" int, name text, id int NOT NULL, part int NOT NULL, qty int);
       ALTER TABLE t2 DROP COLUMN gone; ALTER TABLE t ATTACH PARTITION t2 FOR VALUES IN (2);
       CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         IF pg_trigger_depth() = 1 THEN UPDATE t SET seen = seen + 1 WHERE id = NEW.id AND part = NEW.part; END IF; RETURN NULL; END $$;
       CREATE TRIGGER see AFTER UPDATE OF name ON t FOR EACH ROW EXECUTE FUNCTION see()`,
      mergeFields,
      async (a, b, c) => {
        await a!.sql(
          `INSERT INTO t SELECT i, 1 + i % 2, 'n', 1, '{"a": 1, "b": {"c": 1.00}}' FROM generate_series(1, 8) AS i`,
        );
        await settledEqual([a!, b!, c!]);
        const writes = [
          `UPDATE t SET name = 'nested' WHERE id < 5`,
          `INSERT INTO t VALUES (1, 2, 'x', 2) ON CONFLICT (id, part) DO UPDATE SET qty = 22, doc = t.doc || '{"u": 1}'`,
          `UPDATE t2 SET doc = doc - 'a' || '{"b": {"c": 1.0}}' WHERE id IN (1, 3)`,
          `UPDATE t SET part = 3 - part WHERE id IN (2, 5)`,
          `BEGIN; UPDATE t SET id = -id WHERE id IN (3, 7) AND part = 2; UPDATE t SET id = CASE id WHEN -3 THEN 7 ELSE 3 END WHERE id < 0; COMMIT`,
          `MERGE INTO t USING (VALUES (4, 1), (40, 1)) AS s (id, part) ON t.id = s.id AND t.part = s.part
             WHEN MATCHED THEN UPDATE SET doc = 'null', qty = qty WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.part, 'merged')`,
          `BEGIN; UPDATE t SET qty = 5 WHERE id = 6; UPDATE t SET doc = NULL WHERE id = 6; UPDATE t SET doc = '{}' WHERE id = 6; COMMIT`,
          `DELETE FROM t WHERE id = 8`,
          `UPDATE t SET qty = qty + 1`,
        ];
        for (let i = 0; i < writes.length; i++) {
          const [x, y, z] = [0, 1, 2].map((n) => [a!, b!, c!][(i + n) % 3]!);
          await x!.sql(writes[i]!);
          await y!.sql(writes[(i + 4) % writes.length]!);
          if (i % 3 === 0) await pull(x!, z!);
          // A snapshot from before the set was there.
          const old = await z!.db.pool.connect();
          await old.query(`BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t`);
          await pull(y!, z!);
          await old.query(`UPDATE t SET seen = seen + 10 WHERE id = 6`).catch(() => undefined);
          await old.query('COMMIT');
          old.release();
          await z!.store.keepUp();
          if (i % 2 === 0) await settledEqual([a!, b!, c!]);
        }
        await settledEqual([a!, b!, c!]);
        expect([await pull(a!, b!), await pull(b!, c!), await pull(c!, a!)]).toEqual([0, 0, 0]);
      },
    ));
});

describe('A resolver', () => {
  it('that once did not answer in time is asked again, and the nodes end with one row', async () => {
    let slow = true;
    const resolver = (_key: readonly string[], a: { value: RowImage | null }) => {
      const end = Date.now() + 1000;
      while (slow && Date.now() < end);
      return a.value;
    };
    const told = { rules: rules('custom'), resolvers: { default: resolver }, resolverTimeout: 100 };
    await withNodes(2, schema, told, async (a, b) => {
      await a!.sql(`INSERT INTO t SELECT i, 'a' FROM generate_series(1, 20) AS i`);
      await b!.sql(`INSERT INTO t SELECT i, 'b' FROM generate_series(1, 20) AS i`);
      await pull(a!, b!);
      expect(await b!.sql(`SELECT DISTINCT name FROM t`)).toEqual([{ name: 'b' }]);
      slow = false;
      await pull(b!, a!);
      expect(await a!.sql(`SELECT DISTINCT name FROM t`)).toEqual([{ name: 'a' }]);
      for (
        const end = Date.now() + 40_000;
        Date.now() < end;
        await new Promise((resolve) => setTimeout(resolve, 500))
      ) {
        const [open] = await b!.sql<{ n: number }>(
          `SELECT count(*)::int AS n FROM p2p.conflict WHERE open IS NOT NULL`,
        );
        if (open!.n === 0) break;
      }
      await settledEqual([a!, b!]);
      expect(await b!.sql(`SELECT DISTINCT name FROM t`)).toEqual([{ name: 'a' }]);
    });
  });
});
