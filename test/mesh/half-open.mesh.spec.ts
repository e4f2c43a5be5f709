import { protocolVersion } from '@pgmesh/wire';
import { connect } from 'node:net';
import { eventually, eventuallyEqual, LiveNode, pause, startMesh } from '../support/mesh-node';

const schema = 'CREATE TABLE readings (id int PRIMARY KEY, site text, value text)';
const count = async ({ sql }: LiveNode): Promise<number> =>
  (await sql<{ n: number }>('SELECT count(*)::int AS n FROM readings'))[0]!.n;

/** What a bounded page may hold at most, for the tests that look at it. */
const batchSize = 5_000;

it('trap 41: a peer that takes everything and answers nothing is given up, holds up nobody, and is back when it answers', async () => {
  await using mesh = await startMesh('a <-> b, a <-> c', schema, { all: { timeout: 800, syncInterval: 500 } });
  const [a, b, c] = [mesh.node('a'), mesh.node('b'), mesh.node('c')];
  await mesh.connected();
  mesh.link('a', 'b').silence();
  mesh.link('b', 'a').silence();

  await a.sql(`INSERT INTO readings VALUES (1, 'a', 'while b is deaf')`);
  await b.sql(`INSERT INTO readings VALUES (2, 'b', 'said into the void')`);
  await eventuallyEqual(a, c);
  expect(await count(c)).toBe(1);
  await eventually('a gives b up', async () => {
    const { state, last_error } = await a.link('b');
    expect(state).toBe('unreachable');
    expect(last_error).toMatchObject({
      code: 'unreachable',
      detail: expect.stringContaining('P2P_TIMEOUT') as string,
    });
  });
  expect((await a.link('c')).state).toBe('live');

  mesh.link('a', 'b').open();
  mesh.link('b', 'a').open();
  await eventuallyEqual(a, b, c);
  expect(await count(c)).toBe(2);
});

it('trap 41: silence in the middle of a window leaves nothing of it visible, and the rest follows', async () => {
  await using mesh = await startMesh('a <-> b', schema, { all: { timeout: 800, syncInterval: 500 } });
  const [a, b] = [mesh.node('a'), mesh.node('b')];
  await mesh.connected();
  // Whichever way it is sent, it does not get through.
  const rows = 20_000;
  mesh.link('a', 'b').cutAfter(400_000);
  mesh.link('b', 'a').silenceAfter(200_000);
  let seen = new Set<number>();
  const watching = new AbortController();
  const watch = (async () => {
    while (!watching.signal.aborted) seen = seen.add(await count(b));
  })();
  await a.sql(`INSERT INTO readings SELECT n, 'a', md5(n::text) FROM generate_series(1, ${rows}) AS n`);
  await eventually('a failure is told', () => [...a.events, ...b.events].some(({ type }) => type === 'sync_failed'));
  mesh.link('b', 'a').open();
  await eventuallyEqual(a, b);
  watching.abort();
  await watch;
  expect([...seen].sort((one, other) => one - other)).toEqual([0, rows]);
});

it('trap 41: a reader that stops reading in the middle of a window is let go, and costs the others nothing', async () => {
  await using mesh = await startMesh('a <-> b', schema, {
    all: { timeout: 800, syncInterval: 500 },
    before: { a: `INSERT INTO readings SELECT n, 'a', repeat(md5(n::text), 30) FROM generate_series(1, 20000) AS n` },
  });
  const [a, b] = [mesh.node('a'), mesh.node('b')];
  await mesh.connected();
  const { protocol, node_id } = await a.ask<{ protocol: number; node_id: string }>('hello', 'POST', {
    protocol: protocolVersion,
    instance: 'x',
    node_id: 'reader',
    epoch: 'e',
    room: 'default',
    tables: ['public.readings'],
    url: null,
    links: [],
    knowledge: {},
    position: null,
  });
  expect(node_id).toBe('a');
  const body = JSON.stringify({
    protocol,
    node_id: 'reader',
    epoch: null,
    tables: ['public.readings'],
    kind: 'copy',
    from: null,
    at: null,
    limit: 1_000_000,
    wait: 0,
    knowledge: {},
    links: [],
  });
  const stuck = Array.from({ length: 12 }, () => {
    const socket = connect(a.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.pause();
    socket.write(
      `POST /p2p/window HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    return socket;
  });
  try {
    await pause(300);
    await a.sql(`INSERT INTO readings VALUES (0, 'a', 'news')`);
    await eventuallyEqual(a, b);
    await eventually('no snapshot is held for them', async () => {
      const held = await a.sql(
        `SELECT pid, state, query FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'`,
      );
      expect(held).toEqual([]);
    });
  } finally {
    for (const socket of stuck) socket.destroy();
  }
});

it('trap 41: a sender that falls silent in the middle of a pushed window is let go', async () => {
  await using a = await LiveNode.start('a', schema, { timeout: 800 });
  const stuck = Array.from({ length: 12 }, () => {
    const socket = connect(a.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(
      'POST /p2p/notify-changes HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/vnd.pgmesh.window\r\ncontent-length: 1000\r\n\r\n\0\0',
    );
    return socket;
  });
  try {
    await pause(300);
    await eventually('it answers again', async () => (await a.status()).node_id === 'a', 10_000);
  } finally {
    for (const socket of stuck) socket.destroy();
  }
});

it('trap 41: a healed partition with 20,000 rows waiting on both sides ends equal, in bounded windows', async () => {
  await using mesh = await startMesh('a <-> b', schema, { all: { batchSize, timeout: 2_000, syncInterval: 500 } });
  const [a, b] = [mesh.node('a'), mesh.node('b')];
  await mesh.connected();
  for (const proxy of mesh.proxies) proxy.close();
  // Several transactions, for a window is cut between them; some rows are written on both sides.
  for (let part = 0; part < 10; part++) {
    for (const [sign, { sql, id }] of [
      [1, a],
      [-1, b],
    ] as const) {
      await sql(
        `INSERT INTO readings SELECT ${sign} * n, '${id}', md5(n::text) FROM generate_series(${part * 2000 + 1}, ${part * 2000 + 2000}) AS n`,
      );
    }
  }
  for (const { sql, id } of [a, b])
    await sql(`INSERT INTO readings SELECT 100000 + n, '${id}', 'both' FROM generate_series(1, 100) AS n`);
  const [before, received] = [a.events.length, b.events.length];
  for (const proxy of mesh.proxies) proxy.open();
  await eventuallyEqual(a, b);
  expect(await count(a)).toBe(40_100);
  const windows = [...a.events.slice(before), ...b.events.slice(received)].flatMap((event) =>
    event.type === 'changes_received' ? [event.rows] : [],
  );
  expect(Math.max(...windows)).toBeLessThan(batchSize + 2_000);
  expect(windows.length).toBeGreaterThanOrEqual(8);
});

it('trap 41: a window that stops coming in the middle of its second table does not hold up what others send', async () => {
  const two = `${schema}; CREATE TABLE words (id int PRIMARY KEY, word text)`;
  await using mesh = await startMesh('b <-> c', two, { all: { timeout: 60_000, syncInterval: 60_000 } });
  const [b, c] = [mesh.node('b'), mesh.node('c')];
  await using sender = await LiveNode.start('sender', two);
  await sender.sql(`INSERT INTO readings VALUES (-1, 's', 'first')`);
  await sender.sql(`INSERT INTO words SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, 5000) AS n`);
  await mesh.connected();
  const window = await fetch(`${sender.url}/p2p/window`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      protocol: protocolVersion,
      node_id: 'c',
      epoch: null,
      tables: ['public.readings', 'public.words'],
      kind: 'copy',
      from: null,
      at: null,
      limit: 10_000,
      wait: 0,
      knowledge: {},
      links: [],
    }),
  });
  const bytes = Buffer.from(await window.arrayBuffer());
  const socket = connect(c.port, '127.0.0.1');
  socket.on('error', () => undefined);
  try {
    const head = `POST /p2p/notify-changes HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/vnd.pgmesh.window\r\ncontent-length: ${bytes.length}\r\n\r\n`;
    socket.write(Buffer.concat([Buffer.from(head), bytes.subarray(0, bytes.length / 2)]));
    await pause(500);
    await b.sql(`INSERT INTO readings VALUES (0, 'b', 'in the meantime')`);
    await eventually('it is there', async () => (await count(c)) === 1, 10_000);
  } finally {
    socket.destroy();
  }
});
