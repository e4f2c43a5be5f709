import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, eventuallyEqual, type LiveNode, startMesh } from '../support/mesh-node';
import { howOf, pastCapture, verify } from './verifying';

const program = join(__dirname, '../../bin/pgmesh.js');

/** What a command printed, and its exit code. */
function pgmesh(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...args], { timeout: 120_000 }, (error, out, err) => {
      resolve({ code: error ? Number(error.code ?? -1) : 0, out, err });
    });
  });
}

const idle = { all: { verifyInterval: 0, timeout: 30_000 } };

async function planted(schema: string, fill: string, table: string, ...writes: string[]) {
  const mesh = await startMesh('a <-> b', schema, idle);
  await mesh.connected();
  const [a, b] = [mesh.node('a'), mesh.node('b')] as [LiveNode, LiveNode];
  await a.sql(fill);
  await eventuallyEqual(a, b);
  await pastCapture(b, table, ...writes);
  return { mesh, a, b };
}

beforeAll(() => {
  if (!existsSync(join(program, '../../dist/apps/cli/src/main.js'))) throw new Error('Run npm run build first.');
});

describe('tables of all kinds', () => {
  it('compares composite keys, and repairs them', async () => {
    const { mesh, a, b } = await planted(
      'CREATE TABLE line (shop text, n bigint, day date, what jsonb, PRIMARY KEY (shop, n, day))',
      `INSERT INTO line SELECT 'shop "' || n % 7, n, '2026-01-01', '{"a": 1}' FROM generate_series(1, 700) AS n`,
      'line',
      `UPDATE line SET what = '{"a": 2}' WHERE n = 77`,
      `DELETE FROM line WHERE n = 78`,
    );
    await using _ = mesh;
    expect(howOf(await verify(a))).toEqual({
      'shop "0/77/2026-01-01': 'value',
      'shop "1/78/2026-01-01': 'missing_there',
    });
    expect(await verify(a, { repair: true, table: 'line' })).toMatchObject([{ differ: 2, repaired: 2 }]);
    await eventuallyEqual(a, b);
    // The documented answer to people, with keys as they stand in a URL.
    const from = encodeURIComponent(JSON.stringify(['shop "0', '77', '2026-01-01']));
    const digests = await Promise.all(
      [a, b].map((node) =>
        node.ask<{ ranges: { rows: number; digest: string }[] }>(`table/line/digest?parts=2&from=${from}`),
      ),
    );
    expect(digests[0]!.ranges).toEqual(digests[1]!.ranges);
    expect(digests[0]!.ranges.reduce((sum, { rows }) => sum + rows, 0)).toBe(700 - 1 - 10);
  });

  it('compares text keys whose order is another on each node', async () => {
    const table = (collation: string) => `CREATE TABLE word (id text COLLATE "${collation}" PRIMARY KEY, n int)`;
    await using mesh = await startMesh('a <-> b', 'SELECT 1', {
      ...idle,
      before: { a: table('C'), b: table('und-x-icu') },
    });
    await mesh.connected();
    const [a, b] = [mesh.node('a'), mesh.node('b')];
    await a.sql(
      `INSERT INTO word SELECT (ARRAY['a', 'B', 'ä', 'Z', '_'])[1 + n % 5] || n, n FROM generate_series(1, 1000) AS n`,
    );
    await eventually('the rows are there', async () => {
      expect(await b.sql('SELECT count(*)::int4 AS rows FROM word')).toEqual([{ rows: 1000 }]);
    });
    expect(await verify(a)).toMatchObject([{ rows: 1000, differ: 0 }]);
    await pastCapture(b, 'word', `UPDATE word SET n = -1 WHERE n IN (7, 502, 998)`);
    expect(await verify(b, { repair: true })).toMatchObject([{ rows: 1000, differ: 3, repaired: 3 }]);
    expect(await a.sql('SELECT count(*)::int4 AS rows FROM word WHERE n = -1')).toEqual([{ rows: 3 }]);
    expect(await verify(a)).toMatchObject([{ differ: 0 }]);
  });

  it('compares partitioned tables, generated and identity columns, large values, and columns in another order', async () => {
    const columns = `id int, big bytea, long text, n numeric, twice numeric GENERATED ALWAYS AS (n * 2) STORED, PRIMARY KEY (id)`;
    await using mesh = await startMesh('a <-> b', 'SELECT 1', {
      ...idle,
      before: {
        a: `CREATE TABLE part (${columns}) PARTITION BY RANGE (id); CREATE TABLE low PARTITION OF part FOR VALUES FROM (0) TO (100);
          CREATE TABLE high PARTITION OF part FOR VALUES FROM (100) TO (1000)`,
        // Other columns' order, and one more, which is nobody's concern.
        b: `CREATE TABLE part (n numeric, extra text GENERATED ALWAYS AS ('b') STORED, long text, id int PRIMARY KEY, twice numeric GENERATED ALWAYS AS (n * 2) STORED, big bytea)`,
      },
    });
    await mesh.connected();
    const [a, b] = [mesh.node('a'), mesh.node('b')];
    await a.sql(
      `INSERT INTO part SELECT n, decode(repeat('ab', n * 20), 'hex'), repeat('x', n * 20), n + 0.50 FROM generate_series(1, 199) AS n`,
    );
    await eventually('the rows are there', async () => {
      expect(await b.sql('SELECT count(*)::int4 AS rows FROM part')).toEqual([{ rows: 199 }]);
    });
    expect((await verify(a)).find(({ table }) => table === 'public.part')).toMatchObject({ rows: 199, differ: 0 });
    await pastCapture(
      b,
      'part',
      `UPDATE part SET long = 'y' || substr(long, 2) WHERE id = 190`,
      `UPDATE part SET n = 1.5 WHERE id = 3`,
    );
    const [found] = await verify(a, { repair: true, table: 'part' });
    expect(found).toMatchObject({ state: 'compared', rows: 199, differ: 2, repaired: 2 });
    expect(await a.sql('SELECT n FROM part WHERE id = 3')).toEqual([{ n: '1.5' }]);
  });

  it('compares tombstones, siblings and parked rows', async () => {
    await using mesh = await startMesh('a <-> b', 'CREATE TABLE person (id int PRIMARY KEY, mail text UNIQUE)', idle);
    await mesh.connected();
    const [a, b] = [mesh.node('a'), mesh.node('b')];
    await a.sql(`INSERT INTO person SELECT n, 'p' || n FROM generate_series(1, 50) AS n`);
    await eventuallyEqual(a, b);
    mesh.link('a', 'b').close();
    mesh.link('b', 'a').close();
    await a.sql(
      `INSERT INTO person VALUES (100, 'same'); UPDATE person SET mail = 'a' || id WHERE id <= 3; DELETE FROM person WHERE id BETWEEN 41 AND 50`,
    );
    await b.sql(`INSERT INTO person VALUES (101, 'same'); UPDATE person SET mail = 'b' || id WHERE id <= 3`);
    mesh.link('a', 'b').open();
    mesh.link('b', 'a').open();
    await eventuallyEqual(a, b);
    expect(await a.ask('parked')).toMatchObject({ parked: [{ key: { id: '100' } }] });
    expect(await verify(a)).toMatchObject([{ rows: 41, differ: 0 }]);
    // Nothing that is still on its way shall mend what is planted now.
    for (const node of [a, b, a, b]) await node.ask('sync/manual', 'POST', {});

    const [{ meta } = { meta: '' }] = await b.sql<{ meta: string }>(
      `SELECT 'p2p.meta_' || id AS meta FROM p2p.tracked_table`,
    );
    await b.sql(`UPDATE ${meta} SET siblings = NULL WHERE key1 = 1`);
    await b.sql(`UPDATE ${meta} SET stamp = stamp - 7 WHERE key1 = 45`);
    // A tombstone that one side has collected already.
    await b.sql(`DELETE FROM ${meta} WHERE key1 = 46`);
    await b.sql(`DELETE FROM ${meta} WHERE key1 = 100`);
    await b.sql('DELETE FROM p2p.parked');
    const [found] = await verify(b, { repair: true });
    expect(howOf([found!])).toEqual({ 1: 'version', 45: 'version', 100: 'missing_here' });
    expect(found).toMatchObject({ differ: 3, repaired: 3 });
    expect(await b.ask('parked')).toMatchObject({ parked: [{ key: { id: '100' }, reason: 'key' }] });
    await b.sql(`DELETE FROM ${meta} WHERE key1 = 46`);
    await a.sql(`DELETE FROM ${meta} WHERE key1 = 46`);
    await eventuallyEqual(a, b);
  });

  it('says which tables cannot be compared', async () => {
    await using mesh = await startMesh('a <-> b', 'CREATE TABLE one (id int PRIMARY KEY, n int)', {
      ...idle,
      before: { a: 'CREATE TABLE only_a (id int PRIMARY KEY)', b: 'ALTER TABLE one ADD COLUMN more text' },
    });
    const [a, b] = [mesh.node('a'), mesh.node('b')];
    await eventually('the table is paused', async () => expect((await a.link('b')).paused_tables).toHaveLength(1));
    await eventually('the links are live', async () => expect((await b.status()).active_peers).toBe(1));
    const tables = await verify(a);
    expect(tables).toMatchObject([
      { table: 'public.one', state: 'paused', rows: 0 },
      { table: 'public.only_a', state: 'not_shared', rows: 0 },
    ]);
    expect(tables[0]!.detail).toContain('more');
    const { code, out } = await pgmesh('verify', '--url', a.url);
    expect({ code, out }).toEqual({
      code: 2,
      out: expect.stringMatching(/^b {2}public\.one {2}not compared \(paused\): .*more/),
    });
  });

  it('ends with 1 where rows differ, with 0 where none do any more', async () => {
    const { mesh, a } = await planted(
      'CREATE TABLE item (id int PRIMARY KEY, n int)',
      'INSERT INTO item SELECT n, n FROM generate_series(1, 30) AS n',
      'item',
      'UPDATE item SET n = 0 WHERE id = 3',
    );
    await using _ = mesh;
    expect(await pgmesh('verify', '--url', a.url)).toEqual({
      code: 1,
      out: 'b  public.item  30 rows compared, 1 differ\n  3: value, left as it is\n',
      err: '',
    });
    const repaired = await pgmesh('verify', '--url', a.url, '--peer', 'b', '--table', 'item', '--repair');
    expect(repaired).toMatchObject({
      code: 0,
      out: 'b  public.item  30 rows compared, 1 differ, 1 repaired\n  3: value, repaired\n',
    });
    expect(await pgmesh('verify', '--url', a.url)).toMatchObject({
      code: 0,
      out: 'b  public.item  30 rows compared, 0 differ\n',
    });
    expect(await pgmesh('verify', '--url', a.url, '--peer', 'nobody')).toMatchObject({
      code: 1,
      err: expect.stringContaining('no such peer'),
    });
  });
});
