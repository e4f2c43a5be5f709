import { EmbeddedServer } from '@pgmesh/store';
import { startServer } from '../support/database';
import { eventually, eventuallyEqual, LiveNode, startMesh } from '../support/mesh-node';

const schema = 'CREATE TABLE readings (id int PRIMARY KEY, value text)';
const rows = 20_000;
const write = ({ sql }: LiveNode) =>
  sql(`INSERT INTO readings SELECT n, repeat(md5(n::text), 8) FROM generate_series(1, ${rows}) AS n`);
const count = async ({ db }: LiveNode): Promise<number> =>
  (await db.sql<{ n: number }>('SELECT count(*)::int AS n FROM readings'))[0]!.n;

describe.each([
  { stopped: 'b', role: 'receiver' },
  { stopped: 'a', role: 'sender' },
])('the stop of the $role in the middle of a large window', ({ stopped }) => {
  it('shows all of it or nothing, and the next start goes on', async () => {
    await using mesh = await startMesh('a <-> b', schema, { all: { syncInterval: 60_000, timeout: 30_000 } });
    const [a, b] = [mesh.node('a'), mesh.node('b')];
    await mesh.connected();
    // 6 MB in pieces of some 64 kB: half a minute, unless it is broken off.
    const link = mesh.link('a', 'b');
    link.delay = 300;
    const before = link.bytes.sent;
    await write(a);
    await eventually('the window is on its way', () => link.bytes.sent > before + 300_000);
    expect(await count(b)).toBe(0);

    await mesh.node(stopped).stop();
    expect([0, rows]).toContain(await count(b));
    link.delay = 0;
    await mesh.node(stopped).start();
    await eventuallyEqual(a, b);
    expect(await count(b)).toBe(rows);
  });
});

it('trap hostile 503: a database that goes away in the middle of a window is waited for, and the rest follows by itself', async () => {
  await using first = await startServer();
  const { port, dataDir } = first.server;
  let second: EmbeddedServer | undefined;
  const database = await first.createDatabase();
  try {
    await database.sql(schema);
    await using a = await LiveNode.start('a', schema, { syncInterval: 500 });
    await using b = await LiveNode.start('b', database, { syncInterval: 500, peers: [a.url] });
    await a.dial(b.url);
    await eventually('both are live', async () => {
      expect([(await a.link('b')).state, (await b.link('a')).state]).toEqual(['live', 'live']);
    });

    const writing = write(a);
    await first.server.stop();
    await writing;
    await eventually('b is not ready', async () => (await fetch(`${b.url}/health/ready`)).status === 503);
    await eventually('a is told so by b', async () =>
      expect((await a.link('b')).last_error).toMatchObject({ code: 'unavailable' }),
    );
    expect((await fetch(`${a.url}/health/ready`)).status).toBe(200);
    await a.sql(`INSERT INTO readings VALUES (0, 'meanwhile')`);

    second = await EmbeddedServer.start({ dataDir, port });
    await eventually('b is ready', async () => (await fetch(`${b.url}/health/ready`)).status === 200);
    await eventuallyEqual(a, b);
    expect(await count(b)).toBe(rows + 1);
  } finally {
    await database.pool.end();
    await second?.stop();
  }
});
