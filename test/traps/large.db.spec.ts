import { expectEqual, pull, settle, type StoreNode, storeNode } from '../support/store-node';
import { startPulling } from './pulling';

const schema = `CREATE TABLE files (id int PRIMARY KEY, name text, data bytea, body text, doc jsonb);`;
const MB = 1024 * 1024;
/** Bytes that compression, which looks back some kilobytes, does not make smaller. */
const random = (
  size: number,
) => `(SELECT substr(string_agg(block, ''), 1, ${size}) FROM generate_series(1, ${Math.ceil(size / MB)}),
  (SELECT string_agg(sha512(i::text::bytea), '') AS block FROM generate_series(1, ${MB / 64}) AS i) AS made)`;

async function sums(node: StoreNode): Promise<unknown> {
  return node.sql(
    `SELECT id, name, md5(data) AS data, length(data) AS size, md5(body) AS body, md5(doc::text) AS doc FROM files ORDER BY id`,
  );
}

describe('Large values', () => {
  it('trap 36: rows from 1 KB to 100 MB travel in bounded memory, alone and among others', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await a.sql(`INSERT INTO files (id, name) SELECT i, 'small' FROM generate_series(1, 400) AS i`);
    const small = await startPulling(a, b);
    await small.ended;
    expect(small).toMatchObject({ complaint: '', rows: 400 });
    await a.sql(
      `INSERT INTO files (id, data) SELECT 1000 + e, substr(${random(4 * MB)}, 1, (1024 * power(4, e))::int) FROM generate_series(0, 6) AS e`,
    );
    await a.sql(`INSERT INTO files (id, data) VALUES (2000, ${random(100 * MB)})`);
    await a.sql(`INSERT INTO files (id, body) VALUES (2001, repeat('highly compressible ', 5 * 1024 * 1024))`);
    await a.sql(`INSERT INTO files (id, doc) VALUES (2002, jsonb_build_object('text', repeat('x', 50 * 1024 * 1024)))`);
    await a.sql(`UPDATE files SET name = 'beside large ones' WHERE id <= 400`);
    const large = await startPulling(a, b);
    await large.ended;
    expect(large).toMatchObject({ complaint: '', rows: 410 });
    expect((large.peak - small.peak) / MB).toBeLessThan(150);
    expect(await sums(b)).toEqual(await sums(a));
  }, 180_000);

  it('trap 36: values that look small because they are compressed do not make a window too large', async () => {
    const tables = Array.from(
      { length: 8 },
      (_, i) => `CREATE TABLE wide${i} (id int PRIMARY KEY, doc jsonb, body text);`,
    ).join('');
    await using a = await storeNode('a', tables);
    await using b = await storeNode('b', tables);
    await settle(a, b);
    const fill = Array.from(
      { length: 8 },
      (_, i) =>
        `INSERT INTO wide${i} SELECT n, jsonb_build_object('x', repeat('y', 40000)), repeat('"', 30000) FROM generate_series(1, 60) AS n;`,
    );
    await a.sql(`BEGIN; ${fill.join('')} COMMIT`);
    expect(await pull(a, b)).toBe(480);
    await expectEqual(a, b);
  });

  it('trap 36: large rows in conflict are settled, and the loser is kept whole', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await a.sql(`INSERT INTO files (id, data) VALUES (1, ${random(50 * MB)})`);
    await settle(a, b);
    await a.sql(`UPDATE files SET name = 'of a', data = data || '\\x01'`);
    await b.sql(`UPDATE files SET name = 'of b', data = data || '\\x02'`);
    await settle(a, b);
    expect(await sums(b)).toEqual(await sums(a));
    expect(
      await a.sql(`SELECT key1, length(siblings #>> '{0,image,data}') AS kept FROM p2p.meta_1 ORDER BY 1`),
    ).toEqual([{ key1: 1, kept: 2 * (50 * MB + 1) + 2 }]);
  });
});
