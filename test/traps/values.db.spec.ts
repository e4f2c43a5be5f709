import { escapeLiteral } from 'pg';
import { expectEqual, pull, settle, type StoreNode, storeNode } from '../support/store-node';
import { edgeTypes, edgeValues, untried } from './edge-values';

const types = Object.keys(edgeValues);
const columns = types.map((_, i) => `v${i}`);
const everything = `${edgeTypes}
  CREATE TABLE everything (id int PRIMARY KEY, note text, ${types.map((type, i) => `v${i} ${type}`).join(', ')});`;
/** Row n has the n-th edge value of every type, and NULL where there are fewer. The last row has none. */
const edges = Array.from(
  { length: Math.max(...Object.values(edgeValues).map(({ length }) => length)) + 1 },
  (_, n) => n,
);

function insertEdges(offset = 0, note = 'edge'): string {
  const rows = edges.map((n) => {
    const values = types.map((type) => {
      const value = edgeValues[type]![n];
      return value === undefined ? 'NULL' : `${escapeLiteral(value)}::${type}`;
    });
    return `(${n + offset}, '${note}', ${values.join(', ')})`;
  });
  return `INSERT INTO everything (id, note, ${columns.join(', ')}) VALUES ${rows.join(', ')}`;
}

/**
 * Every value as its bytes lie in the table: what its binary output sends, or else what it prints. Objects and composites hold
 * oids of the node's own; they are compared as printed. (An expression on a whole column sees values without their padding.)
 */
async function images(node: StoreNode): Promise<Record<string, unknown>[]> {
  const own = /^(reg|aclitem|refcursor|public\.|xml|tid|.*\[\]$)/;
  const { rows: sends } = await node.db.pool.query<{ name: string; send: string | null }>(
    `SELECT a.attname AS name, nullif(t.typsend::oid, 0)::regproc::text AS send FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
     WHERE a.attrelid = 'everything'::regclass`,
  );
  const one = types.map((type, i) => {
    const send = sends.find(({ name }) => name === `v${i}`)?.send;
    const printed = /xml|markup/.test(type) ? `v${i}::text` : `concat(v${i})`;
    const bytes = send && !own.test(type) ? `encode(${send}(v${i}), 'hex')` : printed;
    return `'${i} ${type}', CASE WHEN v${i} IS DISTINCT FROM NULL THEN ${bytes} || ' ' || ${printed} END`;
  });
  const halves = [one.slice(0, 45), one.slice(45, 90), one.slice(90)].map(
    (part) => `jsonb_build_object(${part.join(', ')})`,
  );
  const rows = await node.sql<{ id: number; image: object }>(
    `SELECT id, ${halves.join(' || ')} AS image FROM everything ORDER BY id`,
  );
  return rows.map(({ id, image }) => ({ id, ...image }));
}

describe('Values', () => {
  it('trap 35: every type that a column can have is tried here', async () => {
    await using a = await storeNode('a', everything);
    const missing = await a.sql(
      `SELECT t.oid::regtype::text AS type FROM pg_type AS t
       WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm', 'e') AND t.typcategory <> 'A' AND t.typname <> ALL ($1)
         AND t.typname !~ '^_' AND NOT EXISTS (SELECT FROM pg_attribute AS c WHERE c.attrelid = 'everything'::regclass AND c.atttypid = t.oid)`,
      [untried],
    );
    expect(missing).toEqual([]);
  });

  it('trap 35: a few values of every type travel as column literals, byte for byte', async () => {
    await using a = await storeNode('a', everything);
    await using b = await storeNode('b', everything);
    await settle(a, b);
    await a.sql(insertEdges());
    expect(await pull(a, b)).toBe(edges.length);
    expect(await images(b)).toEqual(await images(a));
    await expectEqual(a, b);
    await a.sql(`UPDATE everything SET note = 'again'`);
    await settle(a, b);
    expect(await images(b)).toEqual(await images(a));
    expect(await pull(a, b)).toBe(0);
  });

  it('trap 35: many values of every type travel as COPY, byte for byte', async () => {
    await using a = await storeNode('a', everything);
    await using b = await storeNode('b', everything);
    await settle(a, b);
    await a.sql(insertEdges());
    await a.sql(`INSERT INTO everything (id, note) SELECT i, 'filler' FROM generate_series(1000, 1600) AS i`);
    expect(await pull(a, b)).toBe(edges.length + 601);
    expect(await images(b)).toEqual(await images(a));
    await expectEqual(a, b);
  });

  it('trap 35: a first copy brings every value byte for byte', async () => {
    await using a = await storeNode('a', everything + insertEdges());
    await using b = await storeNode('b', everything);
    await pull(a, b, 7);
    expect(await images(b)).toEqual(await images(a));
    await expectEqual(a, b);
  });

  it('trap 35: a conflict is won by an image that has the very same bytes', async () => {
    await using a = await storeNode('a', everything);
    await using b = await storeNode('b', everything);
    await using c = await storeNode('c', everything);
    await a.sql(
      `INSERT INTO everything (id, note) SELECT i, 'first' FROM generate_series(0, ${edges.length - 1}) AS i`,
    );
    await settle(a, b, c);
    // The losers come first, so that at b the winner comes as an image, and at c from among the siblings of two.
    await b.sql(`UPDATE everything SET note = 'of b'`);
    await c.sql(`UPDATE everything SET note = 'of c'`);
    await a.sql('DELETE FROM everything');
    await a.sql(insertEdges());
    await pull(b, c);
    await pull(a, b);
    await pull(b, c);
    await settle(a, b, c);
    expect(await b.sql(`SELECT DISTINCT note FROM everything`)).toEqual([{ note: 'edge' }]);
    expect(await images(b)).toEqual(await images(a));
    expect(await images(c)).toEqual(await images(a));
    await expectEqual(a, b, c);
  });

  it('trap 35: a value that lost is kept as it was', async () => {
    await using a = await storeNode('a', everything + insertEdges());
    await using b = await storeNode('b', everything);
    await settle(a, b);
    await a.sql(`UPDATE everything SET note = 'lost'`);
    await b.sql(`DELETE FROM everything`);
    await settle(a, b);
    await expectEqual(a, b);
    const shape = a.store.find('everything')!;
    const again = shape.columns
      .map(({ name, type }) =>
        type === 'regclass' ? `regclassin(textout(s.image ->> '${name}'))` : `(s.image ->> '${name}')::${type}`,
      )
      .join(', ');
    const before = await b.sql('SELECT count(*)::int AS n FROM everything');
    expect(before).toEqual([{ n: 0 }]);
    await using c = await storeNode('c', everything + insertEdges(0, 'lost'));
    await a.sql(`INSERT INTO everything (${shape.columns.map((x) => x.ident).join(', ')}) SELECT ${again}
      FROM ${shape.meta} AS m, jsonb_array_elements(m.siblings) AS e, LATERAL (SELECT e -> 'image' AS image) AS s`);
    expect(await images(a)).toEqual(await images(c));
    await settle(a, b);
    expect(await images(b)).toEqual(await images(c));
  });

  it('trap 35: settings of the database and the role change nothing of what travels', async () => {
    await using a = await storeNode('a', everything + insertEdges() + odd);
    await using b = await storeNode('b', everything);
    await settle(a, b);
    await a.sql(
      `INSERT INTO everything (id, note, v${types.indexOf('text[]')}) VALUES (900, NULL, ARRAY[NULL, 'NULL'])`,
    );
    await b.sql(
      `INSERT INTO everything (id, note, v${types.indexOf('text[]')}) VALUES (901, NULL, ARRAY[NULL, 'NULL'])`,
    );
    await settle(a, b);
    await expectEqual(a, b);
  });
});

const odd = `; DO $$ BEGIN EXECUTE format($q$
  ALTER DATABASE %1$I SET array_nulls = off; ALTER DATABASE %1$I SET quote_all_identifiers = on; ALTER DATABASE %1$I SET DateStyle = 'German';
  ALTER DATABASE %1$I SET IntervalStyle = 'sql_standard'; ALTER DATABASE %1$I SET TimeZone = 'Asia/Kathmandu';
  ALTER DATABASE %1$I SET extra_float_digits = -5; ALTER DATABASE %1$I SET bytea_output = 'escape';
  ALTER DATABASE %1$I SET standard_conforming_strings = off; ALTER DATABASE %1$I SET xmloption = document;
  ALTER DATABASE %1$I SET default_transaction_isolation = 'serializable'; ALTER DATABASE %1$I SET default_transaction_read_only = off;
  ALTER DATABASE %1$I SET transform_null_equals = on; ALTER DATABASE %1$I SET lock_timeout = '1ms';
  ALTER DATABASE %1$I SET search_path = nowhere, public; $q$, current_database()); END $$;`;
