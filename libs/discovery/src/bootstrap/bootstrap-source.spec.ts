import { type BootstrapAnswer, type BootstrapMessage, Problem } from '@pgmesh/wire';
import type { PeerAddress } from '../discovery-source';
import type { BootstrapClient } from './bootstrap-client';
import { BootstrapSource, type BootstrapSourceOptions } from './bootstrap-source';

const A = 'http://127.0.0.1:8001';
const B = 'http://127.0.0.1:8002';
const C = 'http://127.0.0.1:8003';
const ONE = 'http://127.0.0.1:7001';
const TWO = 'http://127.0.0.1:7002';

type Neighbours = BootstrapAnswer<'join'>['neighbours'];

/** Bootstrap nodes that say what a test has them say. */
class FakeClient implements BootstrapClient {
  readonly said: { url: string; message: BootstrapMessage; body: object }[] = [];
  readonly neighbours = new Map<string, Neighbours>();
  readonly failures = new Map<string, Error>();
  undialled: string[] = [];
  lease_ms = 600;
  closed = false;
  hangs = false;

  send = (async (url: string, message: BootstrapMessage, body: object, signal: AbortSignal) => {
    this.said.push({ url, message, body });
    if (this.hangs)
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
    const failure = this.failures.get(url);
    if (failure) throw failure;
    if (message === 'reg') return { lease_ms: this.lease_ms, registered: 1 };
    if (message === 'join') return { neighbours: this.neighbours.get(url) ?? [], undialled: this.undialled, joined: 1 };
    return { done: true };
  }) as BootstrapClient['send'];

  async close() {
    this.closed = true;
  }

  times(url: string, message: BootstrapMessage): number {
    return this.said.filter((one) => one.url === url && one.message === message).length;
  }
}

async function start(options: Partial<BootstrapSourceOptions> = {}, prepare: (client: FakeClient) => void = () => {}) {
  const client = new FakeClient();
  prepare(client);
  const warnings: string[] = [];
  const peers = new Map<string, string | undefined>();
  const source = new BootstrapSource({
    bootstraps: [ONE],
    nodeId: 'a',
    room: 'r',
    ownUrls: [A],
    client,
    warn: (warning) => warnings.push(warning),
    ...options,
  });
  await source.start(
    ({ url, nodeId }: PeerAddress) => peers.set(url, nodeId),
    ({ url }: PeerAddress) => peers.delete(url),
  );
  return { client, source, warnings, peers, [Symbol.asyncDispose]: () => source.stop() };
}

async function eventually(expectation: () => void): Promise<void> {
  for (const end = Date.now() + 30_000; ;) {
    try {
      return expectation();
    } catch (error) {
      if (Date.now() > end) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe('peers that bootstrap nodes introduce', () => {
  it('are found once, and the lease is renewed in time', async () => {
    await using node = await start({}, ({ neighbours }) => {
      neighbours.set(ONE, [
        { node_id: 'b', urls: [`${B}/`] },
        { node_id: 'a', urls: [A] },
      ]);
    });
    await eventually(() => expect(node.client.times(ONE, 'join')).toBeGreaterThan(2));
    expect(node.peers).toEqual(new Map([[B, 'b']]));
    expect(node.client.said[0]).toMatchObject({
      message: 'reg',
      body: { node_id: 'a', room: 'r', urls: [A], instance: expect.any(String) as string },
    });
    expect(node.source.status()).toMatchObject([{ url: ONE, state: 'registered', joined: 1, last_error: null }]);
    expect(node.warnings).toEqual([]);
  });

  it('stay while the bootstrap node is away and when it has forgotten them; a warning is told once', async () => {
    await using node = await start({}, ({ neighbours }) => neighbours.set(ONE, [{ node_id: 'b', urls: [B] }]));
    await eventually(() => expect(node.peers.size).toBe(1));
    node.client.failures.set(ONE, new Error('connect ECONNREFUSED'));
    await eventually(() => expect(node.source.status()[0]!.state).toBe('away'));
    const tries = node.client.times(ONE, 'reg');
    await eventually(() => expect(node.client.times(ONE, 'reg')).toBeGreaterThan(tries + 2));
    expect(node.warnings).toEqual([expect.stringMatching(/is away: connect ECONNREFUSED.*peers that are known stay/)]);
    node.client.failures.clear();
    node.client.neighbours.clear();
    await eventually(() => expect(node.source.status()[0]!.state).toBe('registered'));
    expect(node.peers).toEqual(new Map([[B, 'b']]));
    node.client.failures.set(ONE, new Error('connect ECONNREFUSED'));
    await eventually(() => expect(node.warnings).toHaveLength(2));
  });

  it('are dropped when they are silent, and found again when they are introduced again', async () => {
    await using node = await start({}, ({ neighbours }) => neighbours.set(ONE, [{ node_id: 'b', urls: [B] }]));
    await eventually(() => expect(node.peers.size).toBe(1));
    node.client.neighbours.clear();
    const asked = node.client.times(ONE, 'join');
    await eventually(() => expect(node.client.times(ONE, 'join')).toBeGreaterThan(asked + 1));
    node.source.forget(B);
    expect(node.peers.size).toBe(0);
    node.client.neighbours.set(ONE, [{ node_id: 'b', urls: [B] }]);
    await eventually(() => expect(node.peers.size).toBe(1));
  });

  it('leave an address when they are introduced at another, unless a second bootstrap node still says so', async () => {
    await using node = await start({ bootstraps: [ONE, TWO] }, ({ neighbours }) => {
      for (const url of [ONE, TWO]) neighbours.set(url, [{ node_id: 'b', urls: [B] }]);
    });
    await eventually(() => expect([ONE, TWO].map((url) => node.client.times(url, 'join') > 0)).toEqual([true, true]));
    node.client.neighbours.set(ONE, [{ node_id: 'b', urls: [C] }]);
    await eventually(() => expect([...node.peers.keys()]).toEqual([B, C]));
    node.client.neighbours.set(TWO, [{ node_id: 'b', urls: [C] }]);
    await eventually(() => expect([...node.peers.keys()]).toEqual([C]));
  });

  it('come from any of several bootstrap nodes: one that is away, refuses or hangs costs a warning at most', async () => {
    const three = 'http://127.0.0.1:7003';
    await using node = await start({ bootstraps: [ONE, TWO, three] }, ({ neighbours, failures }) => {
      failures.set(ONE, new Error('connect ETIMEDOUT'));
      failures.set(TWO, new Problem('unauthorized', 'Send the secret.'));
      neighbours.set(three, [{ node_id: 'b', urls: [B] }]);
    });
    await eventually(() => expect(node.peers.size).toBe(1));
    await eventually(() =>
      expect(node.source.status().map(({ state }) => state)).toEqual(['away', 'refused', 'registered']),
    );
    expect(node.source.status()[1]!.last_error).toMatchObject({ code: 'unauthorized', detail: 'Send the secret.' });
    expect(node.warnings).toHaveLength(2);
  });

  it('that no peer may be are ignored, with a counted warning', async () => {
    await using node = await start({}, ({ neighbours }) =>
      neighbours.set(ONE, [
        { node_id: '<script>', urls: [B] },
        { node_id: 'x', urls: ['http://169.254.169.254', 'file:///etc/passwd', C] },
      ]),
    );
    await eventually(() => expect([...node.peers.keys()]).toEqual([C]));
    await eventually(() => expect(node.client.times(ONE, 'join')).toBeGreaterThan(3));
    expect(node.warnings).toHaveLength(3);
  });
});

describe('what a node tells bootstrap nodes', () => {
  it('is no loopback address where the bootstrap node is elsewhere', async () => {
    const far = 'https://bootstrap.example.com';
    await using node = await start({ bootstraps: [far, ONE], ownUrls: [A, 'https://a.example.com'] });
    await eventually(() => expect([far, ONE].map((url) => node.client.times(url, 'reg') > 0)).toEqual([true, true]));
    const urlsAt = (bootstrap: string) => node.client.said.find(({ url }) => url === bootstrap)!.body;
    expect(urlsAt(far)).toMatchObject({ urls: ['https://a.example.com'] });
    expect(urlsAt(ONE)).toMatchObject({ urls: [A, 'https://a.example.com'] });
  });

  it('and that nobody can be dialled is said once, with the remedy', async () => {
    await using node = await start({ ownUrls: [] }, (client) => (client.undialled = ['b']));
    await eventually(() => expect(node.client.times(ONE, 'join')).toBeGreaterThan(2));
    expect(node.warnings).toEqual([expect.stringMatching(/none can be dialled.*P2P_PUBLIC_URL/)]);
  });

  it('at its end is LEAVE and UNREG, for as long as anybody listens', async () => {
    const node = await start();
    await eventually(() => expect(node.client.times(ONE, 'join')).toBeGreaterThan(0));
    await node.source.stop();
    expect(node.client.said.slice(-2).map(({ message }) => message)).toEqual(['leave', 'unreg']);
    expect(node.client.closed).toBe(true);

    const hanging = await start();
    await eventually(() => expect(hanging.client.times(ONE, 'join')).toBeGreaterThan(0));
    hanging.client.hangs = true;
    await hanging.source.stop();
    expect(hanging.client.closed).toBe(true);
  });

  it('does not storm: a lease of a millisecond is not renewed each millisecond, nor is one of an age kept', async () => {
    await using node = await start({}, (client) => {
      client.lease_ms = 1;
      client.neighbours.set(ONE, [{ node_id: 'b', urls: [B] }]);
    });
    const begun = performance.now();
    await eventually(() => expect(node.client.times(ONE, 'reg')).toBeGreaterThan(3));
    expect(performance.now() - begun).toBeGreaterThan(500);
    node.client.lease_ms = Number.MAX_SAFE_INTEGER;
    await eventually(() =>
      expect(Date.parse(node.source.status()[0]!.lease_until!)).toBeGreaterThan(Date.now() + 3_000_000),
    );
    expect(Date.parse(node.source.status()[0]!.lease_until!)).toBeLessThan(Date.now() + 3_700_000);
  });
});
