import type { MeshEvent } from '@pgmesh/sync';
import { eventually, eventuallyEqual, LiveNode, startMesh } from '../support/mesh-node';

const schema = 'CREATE TABLE readings (id int PRIMARY KEY, value text)';
const rows = 20_000;
const fill = { a: `INSERT INTO readings SELECT n, repeat(md5(n::text), 8) FROM generate_series(1, ${rows}) AS n` };

const progress = ({ events }: LiveNode) =>
  events.filter((event): event is Extract<MeshEvent, { type: 'copy_progress' }> => event.type === 'copy_progress');

it('a first copy tells how far it is and when it will end, serves what is there meanwhile, and goes on where it was after a stop', async () => {
  await using mesh = await startMesh('b -> a', schema, { all: { batchSize: 1_000, timeout: 30_000 }, before: fill });
  const [b, a] = [mesh.node('b'), mesh.node('a')];
  // Pieces come one by one, and each takes a while.
  mesh.link('b', 'a').delay = 50;
  await eventually('the end can be told', async () => {
    const { copying } = await b.link('a');
    expect(copying).toMatchObject({ table: 'public.readings', of: rows, seconds_left: expect.any(Number) as number });
    expect(copying!.copied).toBeGreaterThan(1_000);
  });
  const [{ n }] = (await b.sql<{ n: number }>('SELECT count(*)::int AS n FROM readings')) as [{ n: number }];
  expect(n).toBeGreaterThan(1_000);
  expect(n).toBeLessThan(rows);
  await a.sql(`UPDATE readings SET value = 'written meanwhile' WHERE id % 100 = 0`);
  await b.sql(`INSERT INTO readings VALUES (0, 'of b')`);
  await b.stop();
  const before = progress(b);
  expect(before.at(-1)!.copied).toBeLessThan(rows);
  await b.start();
  await b.dial(mesh.link('b', 'a').url);
  await eventually('it has gone on', () => progress(b).length > before.length);
  expect(progress(b)[before.length]!.copied).toBeGreaterThan(before.at(-1)!.copied);
  mesh.link('b', 'a').delay = 0;
  await eventually('it has come to its end', async () => {
    expect((await b.link('a')).copying).toBeNull();
    expect(progress(b).at(-1)).toMatchObject({ table: null, copied: rows, of: rows, seconds_left: 0 });
  });
  await eventuallyEqual(a, b);
});

it('of several sources one is copied from, and the others bring nothing', async () => {
  await using mesh = await startMesh('a <-> b', schema, { all: { batchSize: 1_000, timeout: 30_000 }, before: fill });
  const [a, b] = [mesh.node('a'), mesh.node('b')];
  await mesh.connected();
  await eventuallyEqual(a, b);
  await using joiner = await LiveNode.start('joiner', schema, {
    // Nobody who waits for the first copy gives up waiting.
    syncInterval: 30_000,
    timeout: 30_000,
    peers: [a.url, b.url],
  });
  await eventuallyEqual(a, b, joiner);
  const brought = (peer: string): number =>
    joiner.events.reduce(
      (sum, event) => sum + (event.type === 'changes_received' && event.peer === peer ? event.rows : 0),
      0,
    );
  await eventually('what was brought is told', () =>
    expect([brought('a'), brought('b')].sort((x, y) => x - y)).toEqual([0, rows]),
  );
});
