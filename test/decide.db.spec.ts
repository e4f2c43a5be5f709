import { openPool } from '@pgmesh/store';
import { Client, type Pool } from 'pg';
import { decide } from '../libs/store/src/decide';
import { rowKey } from '../libs/store/src/row-key';
import { expectEqual, settle, type StoreNode, storeNode } from './support/store-node';

const schema = `
  CREATE TABLE t (id int PRIMARY KEY, x text, n int DEFAULT 7 CHECK (n < 100), twice int GENERATED ALWAYS AS (n * 2) STORED);
  CREATE TABLE long (a int, b text, x text, PRIMARY KEY (a, b));
  CREATE TABLE numbered (id int PRIMARY KEY, no int GENERATED ALWAYS AS IDENTITY, x text);
  CREATE TABLE drawn (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, x text);
  CREATE TABLE only_key (id numeric PRIMARY KEY);`;

const shapeOf = (node: StoreNode, table: string) => node.store.find(table)!;

const pools: Pool[] = [];
function poolOf({ db }: StoreNode): Pool {
  const known = pools.find(({ options }) => options.connectionString === db.url);
  if (known) return known;
  pools.push(openPool(db.url, 2));
  return pools.at(-1)!;
}
afterAll(() => Promise.all(pools.map((pool) => pool.end())));

const write = (node: StoreNode, table: string, key: readonly string[], image: Record<string, string | null> | null) =>
  decide(poolOf(node), node.store.identity, shapeOf(node, table), key, image);
const versionOf = async (node: StoreNode, table: string) =>
  (
    await node.sql<{ stamp: string; origin: string; siblings: unknown; deleted: boolean }>(
      `SELECT stamp, origin, siblings, deleted FROM ${shapeOf(node, table).meta}`,
    )
  )[0];
const refusal = (code: string) => expect.objectContaining({ code });

/** Two nodes with a row in conflict on both. */
async function inConflict(): Promise<[StoreNode, StoreNode, () => Promise<void>]> {
  const a = await storeNode('a', schema);
  const b = await storeNode('b', schema);
  await a.sql(`INSERT INTO t VALUES (1, 'of a')`);
  await b.sql(`INSERT INTO t VALUES (1, 'of b')`);
  await settle(a, b);
  expect((await versionOf(a, 't'))?.siblings).not.toBeNull();
  return [a, b, () => Promise.all([a, b].map((node) => node[Symbol.asyncDispose]())).then(() => undefined)];
}

describe('A decision', () => {
  it.each([
    ['another row', { id: '1', x: 'decided', n: '8' }],
    ['the row as it is', { x: 'of b' }],
    ['a deletion', null],
  ])('for %s covers the set and travels', async (_, image) => {
    const [a, b, end] = await inConflict();
    try {
      const { stamp, origin } = await write(a, 't', ['1'], image);
      expect(await versionOf(a, 't')).toEqual({
        stamp: String(stamp),
        origin,
        siblings: null,
        deleted: image === null,
      });
      expect(origin).toBe(a.store.identity.origin);
      await settle(a, b);
      await expectEqual(a, b);
      expect(await b.sql(`SELECT x FROM t`)).toEqual(image === null ? [] : [{ x: image.x }]);
    } finally {
      await end();
    }
  });

  it('for a deletion where the row is away already covers the set', async () => {
    const [a, b, end] = await inConflict();
    try {
      await a.sql(`UPDATE t SET x = 'again'`);
      await b.sql(`DELETE FROM t`);
      await b.sql(`INSERT INTO t VALUES (1, 'back')`);
      await b.sql(`DELETE FROM t`);
      await settle(a, b);
      expect((await versionOf(a, 't'))?.siblings).not.toBeNull();
      await write(a, 't', ['1'], null);
      expect(await versionOf(a, 't')).toMatchObject({ siblings: null, deleted: true });
      await settle(a, b);
      await expectEqual(a, b);
    } finally {
      await end();
    }
  });

  it('keeps what the image lacks, or gives it its default', async () => {
    await using a = await storeNode('a', schema);
    await a.sql(`INSERT INTO t VALUES (1, 'x', 3)`);
    await write(a, 't', ['1'], { x: 'y' });
    await write(a, 't', ['2'], { x: 'new' });
    expect(await a.sql('SELECT * FROM t ORDER BY id')).toEqual([
      { id: 1, x: 'y', n: 3, twice: 6 },
      { id: 2, x: 'new', n: 7, twice: 14 },
    ]);
  });

  it('needs no more of a row that is there than what it changes', async () => {
    await using a = await storeNode(
      'a',
      `CREATE TABLE strict (id numeric PRIMARY KEY, x text NOT NULL, no int GENERATED ALWAYS AS IDENTITY, n int);`,
    );
    await a.sql(`INSERT INTO strict (id, x, n) VALUES (1, 'x', 3)`);
    await write(a, 'strict', ['1'], { n: '4' });
    await write(a, 'strict', ['1'], { no: '9' });
    await write(a, 'strict', ['1'], {});
    expect(await a.sql('SELECT id::text, x, no, n FROM strict')).toEqual([{ id: '1', x: 'x', no: 9, n: 4 }]);
    await expect(write(a, 'strict', ['2'], { n: '4' })).rejects.toEqual(refusal('invalid_value'));
  });

  it('writes longer keys, keys alone, and columns that are numbered by the table', async () => {
    await using a = await storeNode('a', schema);
    await write(a, 'long', ['1', "it's"], { x: 'y' });
    expect(await a.sql('SELECT * FROM long')).toEqual([{ a: 1, b: "it's", x: 'y' }]);
    await write(a, 'only_key', ['1.0'], {});
    await write(a, 'only_key', ['1.0'], { id: '1.00' });
    expect(await a.sql('SELECT id::text FROM only_key')).toHaveLength(1);
    await write(a, 'drawn', ['41'], { x: 'y' });
    await write(a, 'drawn', ['41'], { id: '41', x: 'z' });
    expect(await a.sql('SELECT * FROM drawn')).toEqual([{ id: 41, x: 'z' }]);
    await write(a, 'numbered', ['1'], { no: '5', x: 'y' });
    await write(a, 'numbered', ['1'], { no: '9', x: 'z' });
    expect(await a.sql('SELECT * FROM numbered')).toEqual([{ id: 1, no: 9, x: 'z' }]);
    expect(await versionOf(a, 'numbered')).toMatchObject({ deleted: false });
  });

  it('does not take children along for a number', async () => {
    await using a = await storeNode(
      'a',
      `${schema} CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES numbered ON DELETE CASCADE);`,
    );
    await a.sql(`INSERT INTO numbered (id, x) VALUES (1, 'x'); INSERT INTO child VALUES (1, 1)`);
    await expect(write(a, 'numbered', ['1'], { no: '9' })).rejects.toEqual(refusal('invalid_value'));
    await write(a, 'numbered', ['1'], { no: '1', x: 'y' });
    expect(await a.sql('SELECT x FROM numbered JOIN child ON parent = numbered.id')).toEqual([{ x: 'y' }]);
  });

  it('runs the users’ triggers, in the search path of their own writes', async () => {
    await using a = await storeNode('a', schema);
    await a.sql(`CREATE TABLE log (x text);
      CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES (NEW.x); RETURN NEW; END $$;
      CREATE TRIGGER noted BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION noted()`);
    await write(a, 't', ['1'], { x: 'seen' });
    expect(await a.sql('SELECT DISTINCT x FROM log')).toEqual([{ x: 'seen' }]);
    await a.sql(`CREATE OR REPLACE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$`);
    for (const id of ['1', '2'])
      await expect(write(a, 't', [id], { x: 'stopped' })).rejects.toEqual(refusal('invalid_value'));
    await a.sql(
      `CREATE OR REPLACE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not so'; END $$`,
    );
    await expect(write(a, 't', ['1'], { x: 'refused' })).rejects.toThrow(/not so/);
  });

  it.each([
    ['a value of the wrong type', { n: 'seven' }, 'invalid_value'],
    ['one that a constraint refuses', { n: '100' }, 'invalid_value'],
    ['one that is no text', { n: 7 }, 'invalid_value'],
    ['half a character', { x: '\ud800' }, 'invalid_value'],
    ['a NUL', { x: 'a\0b' }, 'invalid_value'],
    ['an unknown column', { y: 'x' }, 'unknown_column'],
    ['a column of Object.prototype', { constructor: 'x' }, 'unknown_column'],
    ['a generated column', { twice: '2' }, 'unknown_column'],
    ['another key', { id: '2' }, 'invalid_value'],
    ['no key', { id: null }, 'invalid_value'],
    ['a key of the wrong type', { id: 'x' }, 'invalid_value'],
  ])('with %s is refused', async (_, image, code) => {
    await using a = await storeNode('a', schema);
    await a.sql(`INSERT INTO t VALUES (1, 'x', 3)`);
    await expect(write(a, 't', ['1'], image as never)).rejects.toEqual(refusal(code));
    expect(await a.sql('SELECT x, n FROM t')).toEqual([{ x: 'x', n: 3 }]);
  });

  it('for a row that never was is refused when it is a deletion', async () => {
    await using a = await storeNode('a', schema);
    await expect(write(a, 't', ['9'], null)).rejects.toEqual(refusal('not_found'));
  });

  it('waits for a lock, and says so when it lasts', async () => {
    await using a = await storeNode('a', schema);
    await a.sql(`INSERT INTO t VALUES (1, 'x', 3)`);
    const other = new Client(a.db.url);
    await other.connect();
    try {
      await other.query(`BEGIN; UPDATE t SET x = 'held'`);
      await expect(write(a, 't', ['1'], { x: 'y' })).rejects.toEqual(refusal('busy'));
      const waiting = write(a, 't', ['1'], { x: 'y' });
      await other.query('COMMIT');
      await waiting;
      expect(await a.sql('SELECT x FROM t')).toEqual([{ x: 'y' }]);
    } finally {
      await other.end();
    }
  });
});

describe('A key as people write it', () => {
  it('is read as PostgreSQL reads it', async () => {
    await using a = await storeNode(
      'a',
      `${schema} CREATE TABLE day (d date PRIMARY KEY); CREATE TABLE small (d smallint, e uuid, PRIMARY KEY (d, e));
       CREATE TABLE words (w tsvector PRIMARY KEY); CREATE TABLE names (n regclass PRIMARY KEY)`,
    );
    const key = (table: string, text: string) => rowKey(poolOf(a), shapeOf(a, table), text);
    expect(await key('t', '007')).toEqual(['7']);
    expect(await key('long', '[" 1", "a/b"]')).toEqual(['1', 'a/b']);
    expect(await key('day', '20260131')).toEqual(['2026-01-31']);
    expect(await key('small', '["1","A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"]')).toEqual([
      '1',
      'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
    ]);
    for (const [table, text] of [
      ['t', 'x'],
      ['t', ''],
      ['t', '99999999999'],
      ['t', '1\0'],
      ['long', '1'],
      ['long', '["1"]'],
      ['long', '[1,"a"]'],
      ['long', '["1","a","b"]'],
      ['long', '{"a":"1"}'],
      ['day', 'soon'],
      ['words', `'`],
      ['names', 'nobody'],
      ['names', 'a.b.c.d'],
      ['names', '"'],
    ] as const)
      await expect(key(table, text)).rejects.toEqual(refusal('bad_request'));
  });
});
