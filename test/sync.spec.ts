import { createServer, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { MemoryStore } from '../libs/sync/test-support/memory-store';
import { converged, eventually, fullMesh, pause, quiet, TestNode } from '../libs/sync/test-support/node';
import { parseRules } from '../libs/core/src';
import { Problem, protocolVersion } from '../libs/wire/src';

const tables = ['public.items', 'public.orders'];
/** Long enough that nothing in a test happens because an interval has passed. */
const slow = { interval: 60_000 };

/** Rows that reached a node more than once in the same version. */
function repeated({ store }: TestNode): string[] {
  const keys = store.arrived.map(({ key }) => key);
  return keys.filter((key, i) => keys.indexOf(key) !== i);
}

async function allLive(...nodes: TestNode[]): Promise<void> {
  await eventually('all links are live', () =>
    nodes.every(
      ({ mesh }) =>
        mesh.status().peers.length > 0 &&
        mesh.status().peers.every(({ state, last_sync }) => state === 'live' && last_sync !== null),
    ),
  );
}

describe('a full mesh of three', () => {
  it('converges, and no row crosses twice', async () => {
    await using a = await TestNode.start(new MemoryStore('a', tables), slow);
    await using b = await TestNode.start(new MemoryStore('b', tables), slow);
    await using c = await TestNode.start(new MemoryStore('c', tables), slow);
    fullMesh(a, b, c);
    await allLive(a, b, c);
    await quiet(300, a, b, c);

    for (let i = 0; i < 30; i += 1) {
      a.store.write('public.items', `a${i}`, 'x');
      if (i % 10 === 0) await pause(20);
    }
    await converged(a, b, c);
    await quiet(300, a, b, c);
    for (let i = 0; i < 10; i += 1) b.store.write('public.orders', `b${i}`, 'y');
    await converged(a, b, c);
    await quiet(300, a, b, c);
    expect([a, b, c].map(repeated)).toEqual([[], [], []]);
    expect([a, b, c].map(({ store }) => store.arrived.length)).toEqual([10, 30, 40]);
    expect([a, b, c].map(({ store }) => store.openWindows)).toEqual([0, 0, 0]);
  });

  it('that disagree on the rules say so, both of them, and cease when they agree', async () => {
    await using a = await TestNode.start(new MemoryStore('a', tables), { interval: 200 });
    await using b = await TestNode.start(new MemoryStore('b', tables), { interval: 200 });
    const merging = parseRules('last-write-wins, items=manual');
    b.store.rules = merging.ok ? merging.rules : b.store.rules;
    fullMesh(a, b);
    await allLive(a, b);
    const difference = { table: 'public.items', prefix: null };
    expect(a.mesh.status().peers[0]!.rules_differ).toEqual([
      { ...difference, ours: 'last-write-wins', theirs: 'manual' },
    ]);
    expect(b.mesh.status().peers[0]!.rules_differ).toEqual([
      { ...difference, ours: 'manual', theirs: 'last-write-wins' },
    ]);
    a.store.rules = b.store.rules;
    await eventually('they agree', () => [a, b].every(({ mesh }) => mesh.status().peers[0]!.rules_differ.length === 0));
  });

  it('that keep out different rows say so, both of them, once per change, and cease when they no longer do', async () => {
    await using a = await TestNode.start(new MemoryStore('a', tables), slow);
    await using b = await TestNode.start(new MemoryStore('b', tables), slow);
    const told = (node: TestNode) =>
      node.events.flatMap((event) => (event.type === 'constraints_differ' ? [event.differences] : []));
    a.store.constrain('public.items', 'UNIQUE (value)', 'CHECK ((value <> 1))');
    b.store.constrain('public.items', 'CHECK ((value <> 1))');
    fullMesh(a, b);
    await allLive(a, b);
    const remedy = 'On b: ALTER TABLE public.items ADD UNIQUE (value); Or drop on one what the other lacks.';
    const difference = { table: 'public.items', ours: ['UNIQUE (value)'], theirs: [], remedy };
    const mirrored = { ...difference, ours: [], theirs: ['UNIQUE (value)'] };
    await eventually('both have said so', () => told(a).length === 1 && told(b).length === 1);
    expect(a.mesh.status().peers[0]!.constraints_differ).toEqual([difference]);
    expect(b.mesh.status().peers[0]!.constraints_differ).toEqual([mirrored]);
    // Not the interval, but the change itself makes them greet.
    b.store.constrain('public.items', 'UNIQUE (value)', 'NOT NULL value', 'CHECK ((value <> 1))');
    await eventually('both have heard', () => told(a).length === 2 && told(b).length === 2);
    expect(told(a)[1]).toMatchObject([{ ours: [], theirs: ['NOT NULL value'] }]);
    b.store.constrain('public.items', 'CHECK ((value <> 1))', 'UNIQUE (value)');
    await eventually('they agree', () => told(a).length === 3 && told(b).length === 3);
    expect([told(a)[2], told(b)[2]]).toEqual([[], []]);
    expect([a, b].flatMap(({ mesh }) => mesh.status().peers[0]!.constraints_differ)).toEqual([]);
    expect([a, b].flatMap(({ mesh }) => mesh.status().peers[0]!.paused_tables)).toEqual([]);
  });

  it('tells in its status how far a push has brought it', async () => {
    await using a = await TestNode.start(new MemoryStore('a', tables), slow);
    await using b = await TestNode.start(new MemoryStore('b', tables), slow);
    fullMesh(a, b);
    await allLive(a, b);
    await quiet(300, a, b);
    const before = b.mesh.status().peers[0]!.position;
    a.store.write('public.items', 'pushed', 'x');
    await converged(a, b);
    await eventually('the position has moved', () => b.mesh.status().peers[0]!.position !== before);
  });

  it('converges when all write the same rows at once', async () => {
    await using a = await TestNode.start(new MemoryStore('a', tables), slow);
    await using b = await TestNode.start(new MemoryStore('b', tables), slow);
    await using c = await TestNode.start(new MemoryStore('c', tables), slow);
    const nodes = [a, b, c];
    fullMesh(...nodes);
    for (let i = 0; i < 150; i += 1) {
      nodes[i % 3]!.store.write('public.items', `${i % 7}`, i % 11 === 0 ? null : `${i}`);
      if (i % 4 === 0) await pause(3);
    }
    await converged(a, b, c);
    await quiet(300, a, b, c);
    await converged(a, b, c);
    expect(nodes.some(({ events }) => events.some(({ type }) => type === 'conflict'))).toBe(true);
  });

  it('exchanges nothing but greetings and empty polls at rest (P4, trap 40)', async () => {
    const options = { interval: 300 };
    await using a = await TestNode.start(new MemoryStore('a', tables), options);
    await using b = await TestNode.start(new MemoryStore('b', tables), options);
    await using c = await TestNode.start(new MemoryStore('c', tables), options);
    fullMesh(a, b, c);
    await allLive(a, b, c);
    a.store.write('public.items', '1', 'x');
    await converged(a, b, c);
    // Each says how far it has come, and hears of the others.
    let since = Date.now();
    await eventually('nothing more is told', () => {
      const told = [a, b, c].flatMap(({ requests }) => requests.splice(0));
      if (told.includes('notify-changes')) since = Date.now();
      return Date.now() - since > 1_500;
    });
    const arrived = [a, b, c].map(({ store }) => store.arrived.length);
    for (const node of [a, b, c]) node.requests.length = 0;
    await pause(1_000);
    expect([a, b, c].map(({ store }) => store.arrived.length)).toEqual(arrived);
    expect(new Set([a, b, c].flatMap(({ requests }) => requests))).toEqual(new Set(['hello', 'window']));
    // Two peers, two kinds, about three intervals.
    for (const { requests } of [a, b, c]) expect(requests.length).toBeLessThan(30);
  });
});

describe('a line of three', () => {
  it('carries changes across the middle, without waiting for an interval', async () => {
    await using a = await TestNode.start(new MemoryStore('a', tables), slow);
    await using b = await TestNode.start(new MemoryStore('b', tables), slow);
    await using c = await TestNode.start(new MemoryStore('c', tables), slow);
    a.store.write('public.items', 'before', 'x');
    c.store.write('public.items', 'before', 'y');
    a.peers.add(b.url);
    b.peers.add(a.url);
    b.peers.add(c.url);
    c.peers.add(b.url);
    await allLive(a, b, c);
    await converged(a, b, c);
    await quiet(200, a, b, c);
    for (const { store } of [a, b, c]) store.arrived.length = 0;
    a.store.write('public.items', '1', 'x');
    c.store.write('public.orders', '2', 'y');
    await converged(a, b, c);
    await quiet(200, a, b, c);
    expect([a, b, c].flatMap(repeated)).toEqual([]);
  });
});

describe('a first copy', () => {
  it('is not sent back to where it came from, nor fetched twice by one who joins', async () => {
    const full = new MemoryStore('a', tables);
    for (let i = 0; i < 300; i += 1) full.write(tables[i % 2]!, String(i).padStart(4, '0'), 'x');
    await using a = await TestNode.start(full, { ...slow, batch: 20 });
    await using b = await TestNode.start(new MemoryStore('b', tables), { ...slow, batch: 20 });
    fullMesh(a, b);
    await converged(a, b);
    await quiet(200, a, b);
    expect([a, b].map(({ store }) => store.arrived.length)).toEqual([0, 300]);

    await using c = await TestNode.start(new MemoryStore('c', tables), { ...slow, batch: 20 });
    for (const other of [a, b]) {
      c.peers.add(other.url);
      other.peers.add(c.url);
    }
    await converged(a, b, c);
    await quiet(200, a, b, c);
    // B may fetch from C what C has of A, as long as it does not know to be as far with A as C is.
    expect([a, c].map(({ store }) => store.arrived.length)).toEqual([0, 300]);
  });

  it('comes from the source that has the least to do, once those that are known have answered', async () => {
    const full = new MemoryStore('a', tables);
    for (let i = 0; i < 100; i += 1) full.write(tables[i % 2]!, String(i).padStart(4, '0'), 'x');
    await using a = await TestNode.start(full, slow);
    await using b = await TestNode.start(new MemoryStore('b', tables), slow);
    fullMesh(a, b);
    await converged(a, b);
    // Somebody is in the midst of copying from a.
    const { signal } = new AbortController();
    const asked = {
      ...{
        protocol: protocolVersion,
        node_id: 'reader',
        epoch: 'e1',
        tables: [...tables],
        kind: 'copy',
        from: null,
        at: null,
      },
      ...{ limit: 10, wait: 0, knowledge: {}, links: [] },
    };
    const read = async () => (await a.mesh.exchange.window(asked, signal))?.close();
    await read();
    const timer = setInterval(() => void read(), 100);
    try {
      const times = { hold: 100, grace: 100, firstRetry: 20, wait: 1_000, gather: 3_000 };
      await using c = await TestNode.start(new MemoryStore('c', tables), { ...slow, times });
      c.peers.add(a.url);
      c.peers.add(b.url);
      await converged(a, b, c);
      expect(c.store.arrived.map(({ from }) => from)).toEqual(Array.from({ length: 100 }, () => 'b'));
    } finally {
      clearInterval(timer);
    }
  });

  it('of three who start together comes from where the rows are', async () => {
    const full = new MemoryStore('a', tables);
    for (let i = 0; i < 300; i += 1) full.write(tables[i % 2]!, String(i).padStart(4, '0'), 'x');
    await using a = await TestNode.start(full, { ...slow, batch: 20 });
    await using b = await TestNode.start(new MemoryStore('b', tables), { ...slow, batch: 20 });
    await using c = await TestNode.start(new MemoryStore('c', tables), { ...slow, batch: 20 });
    fullMesh(a, b, c);
    await converged(a, b, c);
    await quiet(300, a, b, c);
    expect(a.store.arrived.length).toBe(0);
    expect(b.store.arrived.length + c.store.arrived.length).toBeLessThan(900);
  });

  it('comes in pieces, under load, and ends in the stream (trap 13)', async () => {
    const full = new MemoryStore('a', tables);
    for (let i = 0; i < 500; i += 1) full.write(tables[i % 2]!, String(i).padStart(4, '0'), 'x');
    await using a = await TestNode.start(full, { ...slow, batch: 50 });
    await using b = await TestNode.start(new MemoryStore('b', tables), { ...slow, batch: 50 });
    fullMesh(a, b);
    for (let i = 0; i < 50; i += 1) {
      full.write(tables[i % 2]!, String(i * 7).padStart(4, '0'), 'later');
      if (i % 5 === 0) await pause(5);
    }
    await converged(a, b);
    expect(b.events.filter(({ type }) => type === 'copy_progress').length).toBeGreaterThan(5);
  });
});

describe('what gets lost', () => {
  it('costs time, not data: pushes are refused, and pulls bring the changes', async () => {
    await using a = await TestNode.start(new MemoryStore('a', tables), { interval: 400 });
    await using b = await TestNode.start(new MemoryStore('b', tables), { interval: 400 });
    fullMesh(a, b);
    b.gate = (path) => path !== 'notify-changes';
    await allLive(b);
    a.store.write('public.items', '1', 'x');
    await converged(a, b);
    expect(new Set(b.store.records.map(({ direction }) => direction))).toEqual(new Set(['pull']));
  });

  it('a window that starts after the receiver is answered with where to go on from', async () => {
    await using a = await TestNode.start(new MemoryStore('a', tables), slow);
    await using b = await TestNode.start(new MemoryStore('b', tables), slow);
    fullMesh(a, b);
    await allLive(a, b);
    await quiet(200, a, b);
    a.store.write('public.items', '1', 'x');
    await converged(a, b);
    const head = {
      type: 'window',
      protocol: protocolVersion,
      node: 'a',
      epoch: 'e1',
      kind: 'window',
      from: '900:',
      to: '901:',
      more: false,
      tables,
      at: null,
      next: null,
      knowledge: {},
      guards: {},
      whole: [],
    } as const;
    const late = (async function* () {
      yield head;
      yield { type: 'end', rows: 0 } as const;
    })();
    await expect(b.mesh.exchange.receive(late)).rejects.toMatchObject({
      code: 'gap',
      extra: { position: { epoch: 'e1' } },
    });
  });

  it('a window that is pushed twice and out of order changes nothing (trap 15)', async () => {
    await using a = await TestNode.start(new MemoryStore('a', tables), slow);
    await using b = await TestNode.start(new MemoryStore('b', tables), slow);
    fullMesh(a, b);
    await allLive(a, b);
    const from = (await b.store.inbox.position('a'))!.snapshot;
    a.store.write('public.items', '1', 'x');
    const early = await a.store.feed.open({ kind: 'window', tables, from }, { except: () => [], limit: 100 });
    a.store.write('public.items', '1', 'y');
    await converged(a, b);
    expect(await b.mesh.exchange.receive(early.frames(), 'b/e1')).toMatchObject({ outcome: 'applied', changed: 0 });
    await converged(a, b);
  });
});

describe('reachability', () => {
  it('one side that dials is enough: it both pulls and pushes, first copies included', async () => {
    const b = new MemoryStore('b', tables);
    const a = new MemoryStore('a', tables);
    for (let i = 0; i < 60; i += 1) (i % 2 ? a : b).write('public.items', `${i}`, 'x');
    await using nodeA = await TestNode.start(a, { ...slow, batch: 10, url: () => null });
    await using nodeB = await TestNode.start(b, { ...slow, batch: 10 });
    nodeA.peers.add(nodeB.url);
    await converged(nodeA, nodeB);
    await quiet(200, nodeB);
    a.write('public.orders', 'from a', 'x');
    b.write('public.orders', 'from b', 'x');
    await converged(nodeA, nodeB);
    expect(nodeA.requests).toEqual([]);
  });

  it('a peer that accepts and never answers is given up, and does not hold up the others (trap 41)', async () => {
    const sockets = new Set<Socket>();
    const hole = createServer((socket) => void sockets.add(socket.on('error', () => undefined)));
    await new Promise<void>((resolve) => hole.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(hole.address() as AddressInfo).port}`;
    try {
      await using a = await TestNode.start(new MemoryStore('a', tables), { interval: 200, timeout: 100, retries: 2 });
      await using b = await TestNode.start(new MemoryStore('b', tables), { interval: 200 });
      a.peers.add(url);
      fullMesh(a, b);
      await allLive(b);
      a.store.write('public.items', '1', 'x');
      await converged(a, b);
      await eventually('the hole is told', () => a.events.some(({ type }) => type === 'peer_unreachable'));
      expect(a.mesh.status().peers.find((peer) => peer.url === url)).toMatchObject({
        state: 'unreachable',
        last_error: { code: 'unreachable', detail: expect.stringContaining(url) as string },
      });
      await eventually('the directory is told', () => a.peers.silenced.includes(url));
    } finally {
      for (const socket of sockets) socket.destroy();
      hole.close();
    }
  });

  it('a peer that was away catches up as soon as it is back', async () => {
    await using a = await TestNode.start(new MemoryStore('a', tables), slow);
    const store = new MemoryStore('b', tables);
    let port = 0;
    let back: TestNode;
    {
      await using b = await TestNode.start(store, slow);
      port = b.port;
      fullMesh(a, b);
      await allLive(a, b);
    }
    for (let i = 0; i < 20; i += 1) a.store.write('public.items', `${i}`, 'x');
    await eventually('it is missed', () => a.mesh.status().peers[0]!.failures > 0);
    await using again = (back = await TestNode.start(store, slow, port));
    again.peers.add(a.url);
    await converged(a, back);
  });

  it('greets itself once, and never again', async () => {
    await using a = await TestNode.start(new MemoryStore('a', tables), { interval: 100 });
    a.peers.add(a.url);
    await eventually('it knows itself', () => a.mesh.status().peers[0]!.state === 'self');
    await pause(300);
    expect(a.requests).toEqual(['hello']);
  });
});

describe('refusals', () => {
  it('a restored database is begun anew, and gets back what it had lost (trap 10)', async () => {
    await using a = await TestNode.start(new MemoryStore('a', tables), { interval: 300 });
    const store = new MemoryStore('b', tables);
    let port = 0;
    let backup: MemoryStore;
    {
      await using b = await TestNode.start(store, { interval: 300 });
      port = b.port;
      fullMesh(a, b);
      await allLive(a, b);
      b.store.write('public.items', 'kept', 'x');
      await converged(a, b);
      backup = store.restoredAs('e2');
      b.store.write('public.items', 'lost', 'x');
      a.store.write('public.items', 'other', 'x');
      await converged(a, b);
    }
    await using again = await TestNode.start(backup, { interval: 300 }, port);
    again.peers.add(a.url);
    again.store.write('public.items', 'new', 'x');
    await converged(a, again);
    expect(Object.keys(again.store.contents()['public.items']!)).toEqual(['kept', 'lost', 'new', 'other']);
  });

  it('what a node refuses pauses that link, visibly, and it goes on when the cause is gone', async () => {
    await using a = await TestNode.start(new MemoryStore('a', tables), { interval: 300 });
    await using b = await TestNode.start(new MemoryStore('b', tables), { interval: 300 });
    fullMesh(a, b);
    await allLive(a, b);
    b.store.refusal = new Problem('unknown_column', 'Table public.items has no column "colour" here. Add it.');
    a.store.write('public.items', '1', 'x');
    // Pushed by a or pulled by b, whichever comes first.
    const paused = () => [a, b].flatMap(({ mesh }) => mesh.status().peers).find(({ state }) => state === 'paused');
    let found: ReturnType<typeof paused>;
    await eventually('the link is paused', () => (found = paused()) !== undefined);
    expect(found?.last_error).toMatchObject({
      code: 'unknown_column',
      detail: expect.stringContaining('colour') as string,
    });
    b.store.refusal = null;
    await converged(a, b);
  });

  it('nodes of another room, of the same name, or of another protocol are refused', async () => {
    await using a = await TestNode.start(new MemoryStore('a', tables), slow);
    await using twin = await TestNode.start(new MemoryStore('a', tables), slow);
    await using other = await TestNode.start(new MemoryStore('o', tables), { ...slow, room: 'elsewhere' });
    a.peers.add(twin.url);
    a.peers.add(other.url);
    await eventually('both are refused', () => a.mesh.status().peers.every(({ state }) => state === 'paused'));
    expect(a.mesh.status().peers.map(({ last_error }) => last_error?.code)).toEqual(['other_node', 'other_room']);
    await expect(a.mesh.exchange.hello({ protocol: protocolVersion })).rejects.toMatchObject({ code: 'bad_request' });
  });
});

describe('on demand', () => {
  it('syncs with one peer, or tells why not', async () => {
    await using a = await TestNode.start(new MemoryStore('a', tables), slow);
    await using b = await TestNode.start(new MemoryStore('b', tables), slow);
    a.peers.add(b.url);
    await allLive(a);
    expect(await a.mesh.syncNow('b')).toMatchObject([{ peer: 'b', error: null }]);
    b.gate = () => false;
    expect(await a.mesh.syncNow()).toMatchObject([{ peer: 'b', error: { code: 'unavailable' } }]);
    await expect(a.mesh.syncNow('nobody')).rejects.toMatchObject({ code: 'not_found' });
    await expect(a.mesh.syncNow('b', ['public.secrets'])).rejects.toMatchObject({ code: 'not_found' });
  });
});
