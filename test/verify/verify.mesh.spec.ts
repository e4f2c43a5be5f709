import { eventually, eventuallyEqual, type LiveMesh, type LiveNode, pause, startMesh } from '../support/mesh-node';
import { howOf, pastCapture, verify } from './verifying';

const schema = `CREATE TABLE item (id int PRIMARY KEY, name text, price numeric);
  INSERT INTO item SELECT n, 'item ' || n, n FROM generate_series(1, 0) AS n`;

async function filled(rows: number, topology = 'a <-> b', tables = schema): Promise<LiveMesh> {
  const mesh = await startMesh(topology, tables, { all: { verifyInterval: 0, timeout: 30_000 } });
  await mesh.connected();
  await mesh.node('a').sql(`INSERT INTO item SELECT n, 'item ' || n, n FROM generate_series(1, ${rows}) AS n`);
  await eventuallyEqual(...mesh.nodes);
  return mesh;
}

describe('pgmesh verify', () => {
  it('finds nothing where nodes are equal, and says how many rows it has compared', async () => {
    await using mesh = await filled(3000);
    const [compared] = await verify(mesh.node('a'));
    expect(compared).toMatchObject({
      table: 'public.item',
      state: 'compared',
      rows: 3000,
      differ: 0,
      unsettled: 0,
      keys: [],
    });
  });

  it('trap 30: finds what was written past capture, and makes it a write like any other', async () => {
    await using mesh = await filled(1000);
    const [a, b] = [mesh.node('a'), mesh.node('b')];
    await pastCapture(b, 'item', `UPDATE item SET name = 'changed' WHERE id = 10`, `DELETE FROM item WHERE id = 20`);
    await pastCapture(b, 'item', `INSERT INTO item VALUES (5000, 'new', 1)`);
    await pastCapture(a, 'item', `UPDATE item SET name = 'at a' WHERE id = 30`);
    await b.sql(
      `SET session_replication_role = replica; UPDATE item SET name = 'replica' WHERE id = 40; RESET session_replication_role`,
    );

    const [found] = await verify(a);
    expect(found).toMatchObject({ differ: 4, repaired: 0 });
    expect(howOf([found!])).toEqual({ 10: 'value', 20: 'missing_there', 30: 'value', 5000: 'missing_here' });
    expect(await verify(b)).toMatchObject([{ differ: 4 }]);

    expect(await verify(a, { repair: true })).toMatchObject([{ differ: 4, repaired: 4 }]);
    await eventuallyEqual(a, b);
    expect(await verify(b)).toMatchObject([{ differ: 0 }]);
    expect(await a.sql(`SELECT id, name FROM item WHERE id IN (10, 20, 30, 40, 5000) ORDER BY id`)).toEqual([
      { id: 10, name: 'changed' },
      { id: 30, name: 'at a' },
      { id: 40, name: 'replica' },
      { id: 5000, name: 'new' },
    ]);
    // What was covered so is kept: the rows as the other side had them.
    const { conflicts } = await a.ask<{ conflicts: { key: object; versions: { row: { name: string } | null }[] }[] }>(
      'conflicts',
    );
    const kept = Object.fromEntries(
      conflicts.map(({ key, versions }) => [
        Object.values(key)[0],
        versions.map(({ row }) => row?.name ?? null).sort(),
      ]),
    );
    expect(kept).toEqual({ 10: ['changed', 'item 10'], 20: ['item 20', null], 30: ['at a', 'item 30'] });
    expect(a.events.find(({ type }) => type === 'rows_differ')).toMatchObject({
      peer: 'b',
      table: 'public.item',
      differ: 4,
    });
    const before = await a.sql('SELECT * FROM item ORDER BY id');
    expect(await verify(a, { repair: true })).toMatchObject([{ differ: 0, repaired: 0 }]);
    expect(await a.sql('SELECT * FROM item ORDER BY id')).toEqual(before);
  });

  it('finds a hand in the metadata, and merges what both have', async () => {
    await using mesh = await filled(500);
    const [a, b] = [mesh.node('a'), mesh.node('b')];
    const [{ meta } = { meta: '' }] = await b.sql<{ meta: string }>(
      `SELECT 'p2p.meta_' || id AS meta FROM p2p.tracked_table`,
    );
    await b.sql(`UPDATE ${meta} SET stamp = stamp - 1000 WHERE key1 = 1`);
    await b.sql(`UPDATE ${meta} SET stamp = stamp + 5 WHERE key1 = 2`);
    await b.sql(`DELETE FROM ${meta} WHERE key1 = 3`);
    await b.sql(`UPDATE ${meta} SET deleted = true WHERE key1 = 4`);
    await b.sql(`UPDATE ${meta} SET priority = 7 WHERE key1 = 5`);
    await b.sql(`UPDATE ${meta} SET past = '{"x~0123456789ab": 17}' WHERE key1 = 6`);
    await b.sql(`UPDATE ${meta} SET origin = 'c~0123456789ab' WHERE key1 = 7`);
    expect(await verify(a)).toMatchObject([{ differ: 7 }]);
    const [repaired] = await verify(b, { repair: true });
    expect(repaired).toMatchObject({ differ: 7, repaired: 7 });
    await eventuallyEqual(a, b);
    expect(await a.sql('SELECT count(*)::int4 AS rows FROM item')).toEqual([{ rows: 500 }]);
  });

  it('finds rows that a cursor which was set back or forward has skipped', async () => {
    await using mesh = await filled(100);
    const [a, b] = [mesh.node('a'), mesh.node('b')];
    await b.stop();
    await a.sql(
      `UPDATE item SET name = 'skipped' WHERE id <= 20; DELETE FROM item WHERE id > 90; INSERT INTO item VALUES (101, 'skipped', 0)`,
    );
    const [{ position } = { position: '' }] = await a.sql<{ position: string }>(
      `SELECT pg_snapshot_xmax(pg_current_snapshot()) || ':' AS position`,
    );
    await b.sql(`UPDATE p2p.position SET snapshot = $1, reached = $1`, [position]);
    await b.start();
    await mesh.connected();
    const [found] = await verify(b, { repair: true });
    expect(found).toMatchObject({ differ: 31, repaired: 31 });
    await eventuallyEqual(a, b);
  });

  it('raises no false alarm while both nodes write', async () => {
    await using mesh = await filled(2000);
    const [a, b] = [mesh.node('a'), mesh.node('b')];
    let writing = true;
    const writer = async (node: LiveNode) => {
      for (let n = 0; writing; n++) {
        await node.sql(`UPDATE item SET price = price + 1 WHERE id = ${1 + ((n * 7919) % 2000)}`);
        await node.sql(`INSERT INTO item VALUES (${10_000 + n * 2 + (node === a ? 0 : 1)}, 'n', 1)`);
        await pause(20);
      }
    };
    const writers = [writer(a), writer(b)];
    try {
      for (let round = 0; round < 3; round++) {
        const [compared] = await verify(round % 2 === 0 ? a : b);
        expect(compared).toMatchObject({ state: 'compared', differ: 0 });
      }
    } finally {
      writing = false;
      await Promise.all(writers);
    }
    await eventuallyEqual(a, b);
  });

  it('compares and repairs by itself, now and then', async () => {
    await using mesh = await startMesh('a <-> b', schema, { all: { verifyInterval: 500 } });
    await mesh.connected();
    const [a, b] = [mesh.node('a'), mesh.node('b')];
    await a.sql(`INSERT INTO item SELECT n, 'item ' || n, n FROM generate_series(1, 100) AS n`);
    await eventuallyEqual(a, b);
    await pastCapture(b, 'item', `UPDATE item SET name = 'changed' WHERE id = 10`);
    await eventually(
      'it was repaired',
      () => a.events.some((event) => event.type === 'rows_differ' && event.repaired === 1),
      120_000,
    );
    await eventuallyEqual(a, b);
    await eventually('the status says so', async () => {
      expect((await a.link('b')).compared).toMatchObject({ rows: 100, differ: 0, tables: {} });
    });
    expect(b.events.filter(({ type }) => type === 'rows_differ')).toEqual([]);
  });
});
