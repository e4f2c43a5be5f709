import { parseMaxVersions, parseRules } from '@pgmesh/core';
import { Problem } from '@pgmesh/wire';
import { contents, expectEqual, pull, settle, type StoreNode, storeNode } from '../support/store-node';

const moods = (labels: string) =>
  `CREATE TYPE mood AS ENUM (${labels}); CREATE TABLE t (id int PRIMARY KEY, x text, mood mood); CREATE TABLE other (id int PRIMARY KEY)`;

/** `b` lacks the label 'calm' that `a` and `c` have. */
async function withMoods(work: (a: StoreNode, b: StoreNode, c: StoreNode) => Promise<void>): Promise<void> {
  await using a = await storeNode('a', moods(`'sad', 'glad', 'calm'`));
  await using b = await storeNode('b', moods(`'sad', 'glad'`));
  await using c = await storeNode('c', moods(`'sad', 'glad', 'calm'`));
  await work(a, b, c);
}

const parked = async ({ store }: StoreNode) => (await store.parked.list({ limit: 100 })).parked;

const rows = (node: StoreNode) => node.sql<{ id: number; mood: string }>('SELECT id, mood FROM t ORDER BY id');

/** A window that came as COPY is asked for once more, to find the rows. */
async function pullAgain(from: StoreNode, to: StoreNode): Promise<number> {
  try {
    return await pull(from, to);
  } catch (error) {
    if (!(error instanceof Problem) || error.code !== 'busy') throw error;
    return pull(from, to);
  }
}

const versions = async (node: StoreNode) => (await contents(node, 'public.t')).versions;
/** The versions of a node that can show what the other cannot. */
const names = (node: StoreNode) =>
  node.sql(`SELECT key1, stamp, origin, past FROM ${node.store.find('t')!.meta} ORDER BY 1`);

describe('trap 39: rows with values that cannot be read here', () => {
  it('are parked one by one with the message of PostgreSQL, and their neighbours stand', () =>
    withMoods(async (a, b) => {
      await a.sql(
        `INSERT INTO t SELECT i, 'x', CASE WHEN i IN (7, 30) THEN 'calm' ELSE 'glad' END::mood FROM generate_series(1, 50) AS i`,
      );
      await a.sql('INSERT INTO other VALUES (1)');
      await pullAgain(a, b);
      expect((await rows(b)).length).toBe(48);
      expect(await b.sql('SELECT id FROM other')).toEqual([{ id: 1 }]);
      const message = 'invalid input value for enum public.mood: "calm".';
      const row = { x: 'x', mood: 'calm' };
      expect(await parked(b)).toMatchObject([
        { key: { id: '30' }, reason: 'refused', constraint: null, message, waits_for: null, row: { id: '30', ...row } },
        { key: { id: '7' }, reason: 'refused', message, row: { id: '7', ...row } },
      ]);
      expect(await names(b)).toEqual(await names(a));
    }));

  it('travel on as they came, and stand where they can be read', () =>
    withMoods(async (a, b, c) => {
      await a.sql(`INSERT INTO t VALUES (1, 'x', 'calm'), (2, 'x', 'glad')`);
      await pullAgain(a, b);
      await pull(b, c);

      expect(await rows(c)).toEqual([
        { id: 1, mood: 'calm' },
        { id: 2, mood: 'glad' },
      ]);
      expect(await names(c)).toEqual(await names(a));
      await settle(a, b, c);
      expect(await pull(b, a)).toBe(0);
      expect(await pull(b, c)).toBe(0);
      expect(await pull(a, b)).toBe(0);
      expect(await versions(a)).toEqual(await versions(c));
    }));

  it('stand when the type can read them', () =>
    withMoods(async (a, b) => {
      await a.sql(`INSERT INTO t VALUES (1, 'x', 'calm')`);
      await pullAgain(a, b);
      await b.store.keepUp();
      expect((await parked(b)).length).toBe(1);
      await b.sql(`ALTER TYPE mood ADD VALUE 'calm'`);
      await b.store.keepUp();
      for (let i = 0; i < 100 && (await parked(b)).length > 0; i++) await new Promise((r) => setTimeout(r, 50));
      expect(await parked(b)).toEqual([]);
      await settle(a, b);
      await expectEqual(a, b);
    }));

  it('are covered by later versions, local writes and deletes like any others', () =>
    withMoods(async (a, b) => {
      await a.sql(`INSERT INTO t SELECT i, 'x', 'calm' FROM generate_series(1, 4) AS i`);
      await pullAgain(a, b);
      expect((await parked(b)).length).toBe(4);
      await a.sql(`UPDATE t SET mood = 'sad' WHERE id = 1; DELETE FROM t WHERE id = 2`);
      await b.sql(`INSERT INTO t VALUES (3, 'mine', 'glad')`);
      await settle(a, b);
      expect((await parked(b)).map(({ key }) => key)).toEqual([{ id: '4' }]);
      expect(await rows(b)).toEqual([
        { id: 1, mood: 'sad' },
        { id: 3, mood: 'glad' },
      ]);
      expect(await rows(a)).toEqual([
        { id: 1, mood: 'sad' },
        { id: 3, mood: 'glad' },
        { id: 4, mood: 'calm' },
      ]);
      const { id } = (await parked(b))[0]!;
      await b.store.parked.change(id, { mood: 'sad' });
      await settle(a, b);
      await expectEqual(a, b);
      await a.sql(`UPDATE t SET mood = 'calm' WHERE id = 4`);
      await settle(a, b);
      expect((await rows(b)).map(({ id: key }) => key)).toEqual([1, 3]);
      await b.store.parked.discard((await parked(b))[0]!.id);
      await settle(a, b);
      await expectEqual(a, b);
      expect((await rows(a)).map(({ id: key }) => key)).toEqual([1, 3]);
    }));

  it('take the place of a row that stood, whose history and reason can be asked for', () =>
    withMoods(async (a, b) => {
      await a.sql(`INSERT INTO t VALUES (1, 'x', 'sad'), (2, 'x', 'sad')`);
      await settle(a, b);
      await a.sql(`UPDATE t SET mood = 'calm' WHERE id = 1`);
      await pull(a, b);
      expect(await rows(b)).toEqual([{ id: 2, mood: 'sad' }]);
      const why = await b.store.why(b.store.find('t')!, ['1']);
      expect(why).toMatchObject({
        deleted: false,
        parked: { reason: 'refused', message: 'invalid input value for enum public.mood: "calm".' },
      });
    }));

  it('merge as versions: concurrent ones, and those that wait among siblings', () =>
    withMoods(async (a, b, c) => {
      await a.sql(`INSERT INTO t SELECT i, 'x', 'sad' FROM generate_series(1, 3) AS i`);
      await settle(a, b, c);
      // On 1 the unreadable version wins over ours, on 2 it loses, on 3 two nodes wrote what we cannot read.
      await b.sql(`UPDATE t SET x = 'b' WHERE id = 1`);
      await a.sql(`UPDATE t SET mood = 'calm', x = 'a'`);
      await b.sql(`UPDATE t SET x = 'b' WHERE id = 2`);
      await c.sql(`UPDATE t SET mood = 'calm', x = 'c' WHERE id = 3`);
      await pull(a, b);
      expect((await parked(b)).map(({ key, row }) => [key.id, row!.x]).sort()).toEqual([
        ['1', 'a'],
        ['3', 'a'],
      ]);
      expect(await b.sql('SELECT id, x FROM t ORDER BY id')).toEqual([{ id: 2, x: 'b' }]);
      await settle(a, b, c);
      expect((await parked(b)).map(({ key, row }) => [key.id, row!.x]).sort()).toEqual([
        ['1', 'a'],
        ['3', 'c'],
      ]);
      expect(await a.sql('SELECT id, x FROM t ORDER BY id')).toEqual([
        { id: 1, x: 'a' },
        { id: 2, x: 'b' },
        { id: 3, x: 'c' },
      ]);
      await expectEqual(a, c);
      expect(await names(b)).toEqual(await names(a));
      const { id } = (await b.store.conflicts.list({ limit: 10 })).conflicts.find(({ key }) => key.id === '1')!;
      const mine = (await b.store.conflicts.find(id)).versions.find(({ row }) => row?.x === 'b')!;
      await b.store.conflicts.resolve(id, { version: { stamp: mine.stamp, origin: mine.origin } });
      await settle(a, b, c);
      expect((await parked(b)).map(({ key }) => key.id)).toEqual(['3']);
      await b.sql(`ALTER TYPE mood ADD VALUE 'calm'`);
      await b.store.settleParked();
      await settle(a, b, c);
      await expectEqual(a, b, c);
    }));

  it('cost as many tries as a large window can be halved, and no neighbour', () =>
    withMoods(async (a, b) => {
      await a.sql(
        `INSERT INTO t SELECT i, repeat('x', 50), CASE WHEN i % 6000 = 1 THEN 'calm' ELSE 'glad' END::mood FROM generate_series(1, 20000) AS i`,
      );
      await pullAgain(a, b);
      expect((await parked(b)).length).toBe(4);
      expect(await b.sql('SELECT count(*)::int AS n FROM t')).toEqual([{ n: 19_996 }]);
      await a.sql(`UPDATE t SET x = 'y'`);
      await pullAgain(a, b);
      expect((await parked(b)).map(({ row }) => row!.x)).toEqual(['y', 'y', 'y', 'y']);
      expect(await b.sql(`SELECT count(*)::int AS n FROM t WHERE x = 'y'`)).toEqual([{ n: 19_996 }]);
    }));

  it('leave their table waiting where it is the primary key, for there is nothing to keep them by', async () => {
    const schema = (labels: string) =>
      `CREATE TYPE mood AS ENUM (${labels}); CREATE TABLE t (mood mood PRIMARY KEY, x text); CREATE TABLE other (id int PRIMARY KEY)`;
    await using a = await storeNode('a', schema(`'sad', 'calm'`));
    await using b = await storeNode('b', schema(`'sad'`));
    await settle(a, b);
    await a.sql(`INSERT INTO t VALUES ('sad', 'x'), ('calm', 'x')`);
    await expect(pull(a, b)).rejects.toMatchObject({
      code: 'invalid_value',
      extra: { table: 'public.t' },
      message: expect.stringContaining(
        'primary key cannot be read here: invalid input value for enum public.mood: "calm"',
      ),
    });
    expect(await b.sql('SELECT FROM t')).toEqual([]);
  });

  it('are found whatever their type: arrays, domains, composites, numbers that do not fit, computed columns', async () => {
    const schema = (more: string) => `${more}; CREATE TYPE two AS (a mood, b box);
      CREATE TABLE t (id numeric PRIMARY KEY, m mood[], d percent, c two, b box, x xml, k "char", r regtype, v varchar(9), g int GENERATED ALWAYS AS (f(length(v))) STORED)`;
    const wide = `CREATE TYPE mood AS ENUM ('sad', 'calm'); CREATE DOMAIN percent AS int; CREATE TABLE lost (id int PRIMARY KEY);
      CREATE FUNCTION f(n int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT n'`;
    const narrow = `CREATE TYPE mood AS ENUM ('sad'); CREATE DOMAIN percent AS int CHECK (VALUE <= 100);
      CREATE FUNCTION f(n int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 10 / (n - 3)'`;
    await using a = await storeNode('a', schema(wide), ['public.t']);
    await using b = await storeNode('b', schema(narrow), ['public.t']);
    await using c = await storeNode('c', schema(wide), ['public.t']);
    await settle(a, b, c);
    const row = (id: string, m = '{sad,NULL}', d = '7', two = '(sad,"(1,1),(0,0)")', r = 'integer', v = 'xx') =>
      `(${id}, '${m}', ${d}, '${two}', '(2,2),(1,1)', '<a>"{}\\,</a>', '\\377', '${r}', '${v}')`;
    const all = [
      row('1'),
      row('2.0', '{sad,calm}'),
      row('3', undefined, '101'),
      row('4', undefined, undefined, '(calm,)'),
    ];
    const more = [
      row('5', undefined, undefined, undefined, 'lost'),
      row('6', undefined, undefined, undefined, undefined, 'xxx'),
      row('7'),
    ];
    await a.sql(`INSERT INTO t VALUES ${[...all, ...more].join(', ')}`);
    await pull(a, b);
    expect(await b.sql('SELECT id::text FROM t ORDER BY id')).toEqual([{ id: '1' }, { id: '7' }]);
    expect((await parked(b)).map(({ key, message }) => [key.id, message]).sort()).toEqual([
      ['2.0', 'invalid input value for enum public.mood: "calm".'],
      ['3', 'value for domain public.percent violates check constraint "percent_check".'],
      ['4', 'invalid input value for enum public.mood: "calm".'],
      ['5', 'type "public.lost" does not exist.'],
      ['6', 'division by zero.'],
    ]);
    await pull(b, c);
    expect((await contents(c, 'public.t')).rows).toEqual((await contents(a, 'public.t')).rows);
    await settle(a, b, c);
    await expectEqual(a, c);
  });

  it('are composed anew where fields are merged, and kept in the history', async () => {
    const schema = (labels: string) =>
      `CREATE TYPE mood AS ENUM (${labels}); CREATE TABLE t (id int PRIMARY KEY, x text, y text, mood mood)`;
    const [rules, kept] = [parseRules('merge-fields'), parseMaxVersions('10')];
    if (!rules.ok || !kept.ok) throw new Error('The settings are not what they were');
    const options = { rules: rules.rules, maxVersions: kept.maxVersions };
    await using a = await storeNode('a', schema(`'sad', 'calm'`), ['*'], options);
    await using b = await storeNode('b', schema(`'sad'`), ['*'], options);
    await using c = await storeNode('c', schema(`'sad', 'calm'`), ['*'], options);
    await a.sql(`INSERT INTO t VALUES (1, 'x', 'y', 'sad'), (2, 'x', 'y', 'sad')`);
    await settle(a, b, c);
    await a.sql(`UPDATE t SET mood = 'calm', x = 'a'`);
    await b.sql(`UPDATE t SET y = 'b'`);
    await c.sql(`UPDATE t SET y = 'c' WHERE id = 2`);
    // First the composed rows come to b made by c, then as the versions that they are made of.
    await settle(c, a);
    await pull(c, b);
    await settle(a, b, c);
    await expectEqual(a, c);
    expect(await a.sql('SELECT * FROM t ORDER BY id')).toMatchObject([
      { x: 'a', y: 'b', mood: 'calm' },
      { x: 'a', mood: 'calm' },
    ]);
    expect(await rows(b)).toEqual([]);
    const shown = (await parked(b)).map(({ row }) => row).sort((one, other) => Number(one!.id) - Number(other!.id));
    expect(shown).toEqual(await a.sql('SELECT id::text, x, y, mood::text FROM t ORDER BY id'));
    expect(await names(b)).toEqual(await names(a));
    const history = await b.store.rowHistory.list(b.store.find('t')!, ['1']);
    expect(history.some(({ row }) => row?.mood === 'calm')).toBe(true);
    await b.sql(`ALTER TYPE mood ADD VALUE 'calm'`);
    await b.store.settleParked();
    await settle(a, b, c);
    await expectEqual(a, b, c);
    expect(await parked(b)).toEqual([]);
  });
});

describe('trap 36: large rows that cannot stand', () => {
  const schema = 'CREATE TABLE t (id int PRIMARY KEY, k text UNIQUE, x text); CREATE TABLE other (id int PRIMARY KEY)';

  it('are parked beside their neighbours, listed without what they hold, forwarded, and come back', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', `${schema}; ALTER TABLE t ADD CHECK (id <> 3)`);
    await using c = await storeNode('c', schema);
    await settle(a, b, c);
    await a.sql(
      `INSERT INTO t SELECT i, 'k' || i, CASE WHEN i IN (1, 3) THEN repeat(md5(i::text), 200000) ELSE 'x' END FROM generate_series(1, 5) AS i`,
    );
    await b.sql(`INSERT INTO t VALUES (10, 'k1', 'x')`);
    await pull(a, b);
    expect(await b.sql('SELECT id FROM t ORDER BY id')).toEqual([{ id: 2 }, { id: 4 }, { id: 5 }, { id: 10 }]);
    const listed = await parked(b);
    expect(listed.map(({ key, reason, row }) => [key.id, reason, row]).sort()).toEqual([
      ['1', 'key', null],
      ['3', 'refused', null],
    ]);
    expect((await b.store.parked.find(listed[0]!.id)).row!.x).toHaveLength(6_400_000);
    await pull(b, c);
    expect(await c.sql('SELECT id, length(x)::int AS n FROM t WHERE id IN (1, 3)')).toEqual([{ id: 3, n: 6_400_000 }]);
    await b.sql(`UPDATE t SET k = 'free' WHERE id = 10`);
    await b.store.settleParked();
    await settle(a, b, c);
    await a.store.settleParked();
    await c.store.settleParked();
    expect(await b.sql('SELECT length(x)::int AS n FROM t WHERE id = 1')).toEqual([{ n: 6_400_000 }]);
    expect(await c.sql('SELECT length(x)::int AS n FROM t WHERE id = 1')).toEqual([{ n: 6_400_000 }]);
  });

  it.each([400, 1590])('%d columns of text, of which one row is poisoned', async (columns) => {
    const wide = (first: string) =>
      `CREATE TYPE mood AS ENUM (${first}); CREATE TABLE t (id int PRIMARY KEY, mood mood, ${Array.from({ length: columns - 2 }, (_, i) => `c${i} text`).join(', ')})`;
    await using a = await storeNode('a', wide(`'sad', 'calm'`));
    await using b = await storeNode('b', wide(`'sad'`));
    await settle(a, b);
    const values = Array.from({ length: columns - 2 }, (_, i) => (i < 300 ? `repeat(md5('${i}'), 100)` : 'NULL')).join(
      ', ',
    );
    await a.sql(
      `INSERT INTO t SELECT i, CASE WHEN i = 2 THEN 'calm' ELSE 'sad' END::mood, ${values} FROM generate_series(1, 3) AS i`,
    );
    await pullAgain(a, b);
    expect(await b.sql('SELECT id, length(c298)::int AS n FROM t ORDER BY id')).toEqual([
      { id: 1, n: 3200 },
      { id: 3, n: 3200 },
    ]);
    expect((await parked(b)).map(({ key, row }) => [key.id, row!.c298!.length])).toEqual([['2', 3200]]);
  });
});

describe('trap 39: rows that a function of the table does not take', () => {
  it.each(['23503', '23505', '23P01', '42501', '40001', '0A000', '42P01', 'P0001', 'ABCDE'])(
    'are parked with its message, whatever its code: %s',
    async (code) => {
      const schema = (
        body: string,
      ) => `CREATE TABLE t (id int PRIMARY KEY, x text, y text); CREATE TABLE other (id int PRIMARY KEY);
        CREATE FUNCTION f(x text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN ${body} RETURN x; END $$;
        CREATE INDEX ON t (f(x));
        CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.f(new.y); RETURN new; END $$;
        CREATE TRIGGER g BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION g(); ALTER TABLE t ENABLE ALWAYS TRIGGER g`;
      await using a = await storeNode('a', schema(''));
      await using b = await storeNode(
        'b',
        schema(`IF x = 'bad' THEN RAISE EXCEPTION 'not this' USING ERRCODE = '${code}'; END IF;`),
      );
      await settle(a, b);
      await a.sql(
        `INSERT INTO t VALUES (1, 'good', 'good'), (2, 'bad', 'good'), (3, 'good', 'bad'); INSERT INTO other VALUES (1)`,
      );
      await pull(a, b);
      expect(await b.sql('SELECT id FROM t')).toEqual([{ id: 1 }]);
      expect(await b.sql('SELECT id FROM other')).toEqual([{ id: 1 }]);
      expect((await parked(b)).map(({ key, reason, message }) => `${key.id} ${reason} ${message}`).sort()).toEqual([
        '2 refused not this.',
        '3 refused not this.',
      ]);
      await b.sql('CREATE OR REPLACE FUNCTION f(x text) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT x $$');
      await b.store.settleParked();
      await settle(a, b);
      await expectEqual(a, b);
    },
  );
});
