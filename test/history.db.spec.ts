import { type MaxVersions, parseMaxVersions, parseRules } from '@pgmesh/core';
import type { KeptVersion } from '@pgmesh/store';
import { escapeLiteral } from 'pg';
import { createDatabase } from './support/database';
import { expectEqual, openStore, pull, settle, storeNode, type StoreNode } from './support/store-node';
import { edgeTypes, edgeValues } from './traps/edge-values';

const items = 'CREATE TABLE items (id int PRIMARY KEY, name text, qty int);';

const keep = (text: string): { maxVersions: MaxVersions } => {
  const outcome = parseMaxVersions(text);
  if (!outcome.ok) throw new Error(outcome.problems.join(' '));
  return { maxVersions: outcome.maxVersions };
};

const historyOf = ({ store }: Pick<StoreNode, 'store'>, key: string[], table = 'items'): Promise<KeptVersion[]> =>
  store.rowHistory.list(store.find(table)!, key);

/** `how name` of each version, the newest first; a deletion is a dash. */
const told = async (node: Pick<StoreNode, 'store'>, id: number, column = 'name'): Promise<string[]> =>
  (await historyOf(node, [String(id)])).map(({ how, row, deleted }) => `${how} ${deleted ? '-' : row![column]}`);

describe('The history of a row', () => {
  it('holds what was written, received, and lost a conflict', async () => {
    await using a = await storeNode('a', items, ['*'], keep('5'));
    await using b = await storeNode('b', items, ['*'], keep('5'));
    await a.sql(`INSERT INTO items VALUES (1, 'made by a', 1)`);
    await settle(a, b);
    await b.sql(`UPDATE items SET name = 'changed by b'`);
    await settle(a, b);
    expect(await told(a, 1)).toEqual(['received changed by b', 'written made by a']);
    expect(await told(b, 1)).toEqual(['written changed by b', 'received made by a']);
    await a.sql(`UPDATE items SET name = 'early'`);
    await b.sql(`UPDATE items SET name = 'late'`);
    await settle(a, b);
    expect(await told(a, 1)).toEqual(['received late', 'lost early', 'received changed by b', 'written made by a']);
    expect(await told(b, 1)).toEqual(['written late', 'lost early', 'written changed by b', 'received made by a']);
    const [late, early] = await historyOf(a, ['1']);
    expect([late!.current, early!.current]).toEqual([true, false]);
    expect(late!.row).toEqual({ id: '1', name: 'late', qty: '1' });
  });

  it('goes to the number that was asked for, and takes a transaction for one change', async () => {
    await using node = await storeNode('n', items, ['*'], keep('3'));
    await node.sql(`INSERT INTO items VALUES (1, 'v0', 0), (2, 'w0', 0)`);
    for (let i = 1; i <= 5; i++) await node.sql(`UPDATE items SET name = 'v${i}' WHERE id = 1`);
    expect(await told(node, 1)).toEqual(['written v5', 'written v4', 'written v3']);
    await node.sql(`UPDATE items SET name = name`);
    expect(await told(node, 1)).toHaveLength(3);
    await node.sql(
      `BEGIN; UPDATE items SET name = 'x'; UPDATE items SET name = 'y'; UPDATE items SET name = name; COMMIT`,
    );
    expect(await told(node, 1)).toEqual(['written y', 'written v5', 'written v4']);
    expect(await told(node, 2)).toEqual(['written y', 'written w0']);
  });

  it('holds deletions, TRUNCATE and the rows that moved to another key', async () => {
    await using node = await storeNode('n', items, ['*'], keep('5'));
    await node.sql(`INSERT INTO items SELECT i, 'v' || i, i FROM generate_series(1, 4) AS i`);
    await node.sql('DELETE FROM items WHERE id = 1');
    await node.sql('UPDATE items SET id = 20 WHERE id = 2');
    await node.sql('TRUNCATE items');
    await node.sql(`INSERT INTO items VALUES (1, 'back', 1)`);
    expect(await told(node, 1)).toEqual(['written back', 'written -', 'written v1']);
    expect(await told(node, 2)).toEqual(['written -', 'written v2']);
    expect(await told(node, 20)).toEqual(['written -', 'written v2']);
    expect(await told(node, 3)).toEqual(['written -', 'written v3']);
  });

  it('holds the tombstones that the node makes for a TRUNCATE under an old snapshot', async () => {
    await using node = await storeNode('n', items, ['*'], keep('5'));
    const old = await node.db.pool.connect();
    try {
      await old.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
      await old.query('SELECT 1');
      await node.sql(`INSERT INTO items VALUES (1, 'unseen', 1)`);
      await old.query('TRUNCATE items');
      await old.query('COMMIT');
    } finally {
      old.release();
    }
    await node.store.keepUp();
    expect(await told(node, 1)).toEqual(['written -', 'written unseen']);
  });

  it('holds what stands in the table where triggers write on', async () => {
    await using node = await storeNode(
      'n',
      `${items}
       CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         UPDATE items SET qty = qty + 1 WHERE id = NEW.id AND qty < 10; RETURN NULL; END $$;
       CREATE TRIGGER again AFTER INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION again();`,
      ['*'],
      keep('5'),
    );
    await node.sql(`INSERT INTO items VALUES (1, 'a', 1)`);
    expect(await told(node, 1, 'qty')).toEqual(['written 10']);
    await node.sql(`UPDATE items SET qty = 5`);
    expect(await told(node, 1, 'qty')).toEqual(['written 10', 'written 10']);
  });

  it('holds the rows of partitions, by keys of several columns', async () => {
    await using node = await storeNode(
      'n',
      `CREATE TABLE parts (region text, no numeric, name text, PRIMARY KEY (region, no)) PARTITION BY LIST (region);
       CREATE TABLE parts_eu PARTITION OF parts FOR VALUES IN ('eu');
       CREATE TABLE parts_us PARTITION OF parts FOR VALUES IN ('us');`,
      ['parts'],
      keep('5'),
    );
    await node.sql(`INSERT INTO parts VALUES ('eu', 1.0, 'a')`);
    await node.sql(`UPDATE parts_eu SET name = 'b'`);
    await node.sql(`UPDATE parts SET region = 'us'`);
    const names = async (key: string[]) => (await historyOf(node, key, 'parts')).map(({ row }) => row?.name ?? '-');
    expect(await names(['eu', '1.00'])).toEqual(['-', 'b', 'a']);
    expect(await names(['us', '1'])).toEqual(['b']);
  });

  it('holds what arrived in a first copy, with its conflicts', async () => {
    await using a = await storeNode('a', items);
    await using b = await storeNode('b', items);
    await using c = await storeNode('c', items, ['*'], keep('5'));
    await a.sql(`INSERT INTO items SELECT i, 'v' || i, i FROM generate_series(1, 30000) AS i`);
    await settle(a, b);
    await a.sql(`UPDATE items SET name = 'early' WHERE id = 7`);
    await b.sql(`UPDATE items SET name = 'late' WHERE id = 7`);
    await settle(a, b);
    await pull(a, c);
    expect(await told(c, 7)).toEqual(['received late', 'lost early']);
    expect(await told(c, 30000)).toEqual(['received v30000']);
    expect(await c.sql('SELECT count(*)::int FROM p2p.history_1')).toEqual([{ count: 30001 }]);
  });

  it('comes with the window or not at all', async () => {
    const two = `${items} CREATE TABLE later (id int PRIMARY KEY, qty int);`;
    await using a = await storeNode('a', two);
    const stop = `CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.qty = 10 THEN RAISE 'stopped' USING ERRCODE = '58000'; END IF; RETURN NEW; END $$;
      CREATE TRIGGER stop BEFORE UPDATE ON later FOR EACH ROW EXECUTE FUNCTION stop(); ALTER TABLE later ENABLE ALWAYS TRIGGER stop;`;
    await using b = await storeNode('b', `${two} ${stop}`, ['*'], keep('5'));
    await a.sql(`INSERT INTO items VALUES (1, 'a', 1); INSERT INTO later VALUES (1, 1)`);
    await pull(a, b);
    await a.sql(`UPDATE items SET name = 'b'; UPDATE later SET qty = 10`);
    await expect(pull(a, b)).rejects.toThrow('stopped');
    expect(await told(b, 1)).toEqual(['received a']);
    await a.sql(`UPDATE later SET qty = 9`);
    await pull(a, b);
    expect(await told(b, 1)).toEqual(['received b', 'received a']);
  });

  it('begins with the rows that are there', async () => {
    await using db = await createDatabase();
    await db.sql(items);
    const first = await openStore(db, 'n');
    await db.sql(`INSERT INTO items VALUES (1, 'before', 1), (2, 'gone', 2)`);
    await db.sql(`DELETE FROM items WHERE id = 2`);
    await first.close();
    const store = await openStore(db, 'n', ['*'], keep('2'));
    try {
      await db.sql(`UPDATE items SET name = 'after'`);
      expect(await told({ store }, 1)).toEqual(['written after', 'written before']);
      expect(await told({ store }, 2)).toEqual(['written -']);
    } finally {
      await store.close();
    }
  });

  it('begins with what a version wrote, not with a row that is composed of several under its name', async () => {
    const outcome = parseRules('merge-fields');
    if (!outcome.ok) throw new Error(outcome.problems.join(' '));
    const { rules } = outcome;
    await using a = await storeNode('a', items, ['*'], { rules });
    await using db = await createDatabase();
    await db.sql(items);
    const b = { id: 'b', store: await openStore(db, 'b', ['*'], { rules }) };
    await a.sql(`INSERT INTO items VALUES (1, 'first', 1)`);
    await settle(a, b);
    await a.sql(`UPDATE items SET name = 'of a'`);
    await db.sql(`UPDATE items SET qty = 2`);
    await settle(a, b);
    expect(await a.sql('SELECT name, qty FROM items')).toEqual([{ name: 'of a', qty: 2 }]);
    await b.store.close();
    const store = await openStore(db, 'b', ['*'], { rules, ...keep('5') });
    try {
      const seeded = await historyOf({ store }, ['1']);
      expect(seeded.map(({ origin, row, current }) => [origin.split('~')[0], row, current])).toEqual([
        ['b', { id: '1', name: 'first', qty: '2' }, true],
      ]);
    } finally {
      await store.close();
    }
  });

  it('follows the rules: what stands by them has not lost, whatever it was before', async () => {
    await using a = await storeNode('a', items);
    await using db = await createDatabase();
    await db.sql(items);
    const last = await openStore(db, 'b', ['*'], keep('5'));
    await a.sql(`INSERT INTO items VALUES (1, 'first', 1)`);
    await db.sql(`INSERT INTO items VALUES (1, 'last', 1)`);
    await pull(a, { store: last, id: 'b' });
    expect(await told({ store: last }, 1)).toEqual(['written last', 'lost first']);
    await last.close();
    const rules = parseRules('first-write-wins');
    const first = await openStore(db, 'b', ['*'], { ...keep('5'), ...(rules.ok ? { rules: rules.rules } : {}) });
    try {
      expect(await told({ store: first }, 1)).toEqual(['lost last', 'received first']);
      expect((await historyOf({ store: first }, ['1'])).map(({ current }) => current)).toEqual([false, true]);
    } finally {
      await first.close();
    }
  });
});

describe('The images of a history', () => {
  it('trap 35: are what every node prints, whatever the session of the writer is set to', async () => {
    const types = Object.keys(edgeValues);
    const schema = `${edgeTypes}
      CREATE TABLE everything (id int PRIMARY KEY, note text, ${types.map((type, i) => `v${i} ${type}`).join(', ')});`;
    await using a = await storeNode('a', schema, ['everything'], keep('5'));
    await using b = await storeNode('b', schema, ['everything'], keep('5'));
    const most = Math.max(...Object.values(edgeValues).map(({ length }) => length));
    for (let n = 0; n <= most; n++) {
      const values = types.map((type) => {
        const value = edgeValues[type]![n];
        return value === undefined ? 'NULL' : `${escapeLiteral(value)}::${type}`;
      });
      await a.sql(`INSERT INTO everything VALUES (${[String(n), `'edge'`, ...values].join(', ')})`);
    }
    const odd = await a.db.pool.connect();
    const settings = `SELECT array_agg(name || '=' || setting ORDER BY name) AS set FROM pg_settings WHERE source = 'session'`;
    let seen: unknown[];
    try {
      await odd.query(`SET DateStyle = 'SQL, DMY'; SET IntervalStyle = iso_8601; SET TimeZone = 'Asia/Tokyo'; SET extra_float_digits = -15;
        SET bytea_output = escape; SET xmloption = document; SET quote_all_identifiers = on; SET search_path = public`);
      seen = (await odd.query(settings)).rows;
      await odd.query(`BEGIN; UPDATE everything SET note = 'odd'`);
      expect((await odd.query(settings)).rows).toEqual(seen);
      expect((await odd.query(`SELECT '2026-01-31'::date::text AS day`)).rows).toEqual([{ day: '31/01/2026' }]);
      await odd.query('COMMIT');
      expect((await odd.query(settings)).rows).toEqual(seen);
    } finally {
      odd.release(true);
    }
    await settle(a, b);
    const images = (node: StoreNode) =>
      node.sql(`SELECT key1, image FROM p2p.history_1 WHERE image ->> 'note' = 'odd' ORDER BY key1`);
    const written = await images(a);
    expect(written).toHaveLength(most + 1);
    expect(await images(b)).toEqual(written);
    await a.sql('DELETE FROM everything');
    for (let n = 0; n <= most; n++) {
      const versions = await historyOf(a, [String(n)], 'everything');
      const version = versions.find(({ row }) => row?.note === 'odd')!;
      await a.store.rowHistory.restore(a.store.find('everything')!, [String(n)], version);
    }
    const restored = await a.sql(`SELECT DISTINCT ON (key1) key1, image FROM p2p.history_1 ORDER BY key1, stamp DESC`);
    expect(restored).toEqual(written);
  });

  it('go on while columns come, go and change, in the very transaction too', async () => {
    await using node = await storeNode('n', items, ['*'], keep('9'));
    await node.sql(`INSERT INTO items VALUES (1, 'a', 1)`);
    await node.sql(
      `BEGIN; ALTER TABLE items ADD COLUMN "new ""one" date DEFAULT '2026-01-31'; UPDATE items SET name = 'b'; COMMIT`,
    );
    await node.sql(`ALTER TABLE items DROP COLUMN qty`);
    await node.sql(`SET DateStyle = 'SQL, DMY'; UPDATE items SET name = 'c'; RESET DateStyle`);
    await node.sql(`ALTER TABLE items RENAME COLUMN name TO title`);
    await node.sql(`INSERT INTO items VALUES (2, 'd'); DELETE FROM items WHERE id = 2; UPDATE items SET title = 'e'`);
    await node.sql(`ALTER TABLE items ALTER COLUMN title TYPE xml USING NULL`);
    await node.sql(`TRUNCATE items`);
    await node.store.keepUp();
    await node.sql(`INSERT INTO items VALUES (1, '<x/>')`);
    expect((await historyOf(node, ['1'])).map(({ row }) => row)).toEqual([
      { id: '1', title: '<x/>', 'new "one': '2026-01-31' },
      null,
      { id: '1', title: 'e', 'new "one': '2026-01-31' },
      { id: '1', title: 'c', 'new "one': '2026-01-31' },
      { id: '1', title: 'b', qty: '1', 'new "one': '2026-01-31' },
      { id: '1', title: 'a', qty: '1' },
    ]);
    expect(await historyOf(node, ['2'])).toMatchObject([{ deleted: true }]);
  });

  it('go on when the table is renamed, or its key changed', async () => {
    await using node = await storeNode('n', items, ['*'], keep('9'));
    await node.sql(`INSERT INTO items VALUES (1, 'a', 1)`);
    await node.sql('ALTER TABLE items RENAME TO things');
    await node.sql(`UPDATE things SET name = 'b'`);
    await node.store.keepUp();
    await node.sql(`ALTER TABLE things ALTER COLUMN id TYPE numeric`);
    await node.sql(`UPDATE things SET name = 'c'`);
    await node.store.keepUp();
    await node.sql(`UPDATE things SET name = 'd'`);
    const versions = await historyOf(node, ['1'], 'things');
    expect(versions.map(({ row }) => row!.name)).toEqual(['d', 'c', 'b', 'a']);
  });

  it('never stand in the way of a write: a row that is too large is kept without its values', async () => {
    await using node = await storeNode(
      'n',
      'CREATE TABLE items (id int PRIMARY KEY, name text, bytes bytea);',
      ['*'],
      keep('5'),
    );
    await node.sql(`INSERT INTO items VALUES (1, 'large', convert_to(repeat('x', 140000000), 'UTF8'))`);
    await node.sql(`UPDATE items SET bytes = NULL, name = 'small'`);
    const [small, large] = await historyOf(node, ['1']);
    expect(small!.row).toEqual({ id: '1', name: 'small', bytes: null });
    expect(large).toMatchObject({ row: null, deleted: false, how: 'written' });
    await expect(node.store.rowHistory.restore(node.store.find('items')!, ['1'], large!)).rejects.toThrow(/too large/);
  });

  it('are kept under every isolation level, of what savepoints left', async () => {
    await using node = await storeNode('n', items, ['*'], keep('9'));
    await node.sql(`INSERT INTO items VALUES (1, 'a', 1)`);
    for (const level of ['REPEATABLE READ', 'SERIALIZABLE']) {
      await node.sql(`BEGIN ISOLATION LEVEL ${level}; UPDATE items SET name = '${level}';
        SAVEPOINT s; UPDATE items SET name = 'undone'; ROLLBACK TO s; COMMIT`);
    }
    expect(await told(node, 1)).toEqual(['written SERIALIZABLE', 'written REPEATABLE READ', 'written a']);
  });
});

describe('Restoring a row', () => {
  it('is a write that travels and covers what is in conflict', async () => {
    await using a = await storeNode('a', items, ['*'], keep('5'));
    await using b = await storeNode('b', items);
    await a.sql(`INSERT INTO items VALUES (1, 'good', 1)`);
    await settle(a, b);
    await a.sql(`UPDATE items SET name = 'early'`);
    await b.sql(`DELETE FROM items`);
    await settle(a, b);
    expect(await told(a, 1)).toEqual(['received -', 'lost early', 'written good']);
    const [, early] = await historyOf(a, ['1']);
    const items1 = a.store.find('items')!;
    const { version, leftOut } = await a.store.rowHistory.restore(items1, ['1'], early!);
    expect(leftOut).toEqual([]);
    await settle(a, b);
    await expectEqual(a, b);
    expect(await b.sql('SELECT * FROM items')).toEqual([{ id: 1, name: 'early', qty: 1 }]);
    expect(await b.sql('SELECT FROM p2p.meta_1 WHERE siblings IS NOT NULL')).toEqual([]);
    expect(await told(a, 1)).toEqual(['written early', 'received -', 'lost early', 'written good']);
    expect((await historyOf(a, ['1']))[0]).toMatchObject({ ...version, current: true });
    // A version that stands already is written anew all the same.
    const again = await a.store.rowHistory.restore(items1, ['1'], version);
    expect((await historyOf(a, ['1']))[0]).toMatchObject({ ...again.version, how: 'written' });
    const gone = (await historyOf(a, ['1'])).find(({ deleted }) => deleted)!;
    await a.store.rowHistory.restore(items1, ['1'], gone);
    await settle(a, b);
    expect(await b.sql('SELECT * FROM items')).toEqual([]);
  });

  it('leaves out the columns that are no more, and says so', async () => {
    await using node = await storeNode('n', items, ['*'], keep('5'));
    await node.sql(`INSERT INTO items VALUES (1, 'old', 7); UPDATE items SET name = 'new'`);
    await node.sql(`INSERT INTO items VALUES (2, 'old', 7)`);
    await node.sql(`UPDATE items SET name = 'new'`);
    await node.sql('ALTER TABLE items DROP COLUMN qty');
    const shape = node.store.find('items')!;
    const old = (await historyOf(node, ['2'])).find(({ row }) => row?.name === 'old')!;
    expect(await node.store.rowHistory.restore(shape, ['2'], old)).toMatchObject({ leftOut: ['qty'] });
    expect(await node.sql('SELECT * FROM items WHERE id = 2')).toEqual([{ id: 2, name: 'old' }]);
  });

  it('names what there is not', async () => {
    await using node = await storeNode('n', items, ['*'], keep('5'));
    await node.sql(`INSERT INTO items VALUES (1, 'a', 1)`);
    const shape = node.store.find('items')!;
    await expect(historyOf(node, ['2'])).rejects.toMatchObject({ code: 'not_found' });
    await expect(node.store.rowHistory.restore(shape, ['1'], { stamp: 1, origin: 'x' })).rejects.toMatchObject({
      code: 'not_found',
    });
  });
});

describe('The number of versions', () => {
  it('may be another at the next start, and none: then the history goes, and capture is what it always was', async () => {
    await using db = await createDatabase();
    await db.sql(`${items} CREATE TABLE others (id int PRIMARY KEY);`);
    const sources = `SELECT proname, prosrc, proconfig FROM pg_proc WHERE pronamespace = 'p2p'::regnamespace AND proname ~ '_[12]$' ORDER BY 1`;
    const plain = await openStore(db, 'n');
    const without = await db.sql(sources);
    await plain.close();

    const five = await openStore(db, 'n', ['*'], keep('items=5'));
    await db.sql(`INSERT INTO items VALUES (1, 'v0', 0)`);
    for (let i = 1; i <= 5; i++) await db.sql(`UPDATE items SET name = 'v${i}'`);
    expect(await told({ store: five }, 1)).toHaveLength(5);
    await expect(five.rowHistory.list(five.find('others')!, ['1'])).rejects.toMatchObject({ code: 'history_off' });
    const others = ({ proname }: { proname?: unknown }) => String(proname).endsWith('_2');
    expect((await db.sql(sources)).filter(others)).toEqual(without.filter(others));
    await five.close();

    const two = await openStore(db, 'n', ['*'], keep('2'));
    expect(await told({ store: two }, 1)).toEqual(['written v5', 'written v4']);
    await db.sql(`UPDATE items SET name = 'v6'`);
    expect(await db.sql('SELECT FROM p2p.history_1')).toHaveLength(2);
    await two.close();

    const none = await openStore(db, 'n');
    try {
      expect(await db.sql(sources)).toEqual(without);
      const left = `SELECT relname FROM pg_class WHERE relname ~ '^history_' AND relkind = 'r'`;
      expect(await db.sql(left)).toEqual([]);
      await expect(historyOf({ store: none }, ['1'])).rejects.toMatchObject({ code: 'history_off' });
    } finally {
      await none.close();
    }
  });

  it('does not take the history from under a write that is under way', async () => {
    await using db = await createDatabase();
    await db.sql(items);
    const kept = await openStore(db, 'n', ['*'], keep('5'));
    await kept.close();
    const writer = await db.pool.connect();
    try {
      await writer.query(`BEGIN; INSERT INTO items VALUES (1, 'a', 1)`);
      const none = await openStore(db, 'n');
      try {
        expect(await db.sql(`SELECT to_regclass('p2p.history_1') IS NOT NULL AS found`)).toEqual([{ found: true }]);
        await writer.query(`UPDATE items SET name = 'b'; COMMIT`);
        await none.keepUp();
        expect(await db.sql(`SELECT to_regclass('p2p.history_1') IS NOT NULL AS found`)).toEqual([{ found: false }]);
      } finally {
        await none.close();
      }
    } finally {
      writer.release();
    }
  });
});
