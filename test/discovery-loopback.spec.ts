/** mDNS with real sockets, on loopback alone, on a port of the test's own. */
import { Bonjour } from 'bonjour-service';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { ManualSource, MdnsSource, type MdnsSourceOptions, PeerDirectory } from '../libs/discovery/src';
import { DiscoveryProcess, eventually } from './support/discovery-process';

const LOOPBACK = '127.0.0.1';
const GROUP = '224.0.0.251';
const emptyBook = { all: async () => [], put: async () => undefined, remove: async () => undefined };

let port: number;
beforeEach(async () => {
  await using socket = await udp({ port: 0 });
  port = socket.port;
});

describe('mDNS on loopback', () => {
  it('shows nodes to each other, and shows at once that one has said goodbye', async () => {
    await using a = await node('a', 8101);
    {
      await using b = await node('b', 8102, { scheme: 'https', path: '/mesh' });
      await eventually(() => expect(a.urls()).toEqual(['https://127.0.0.1:8102/mesh']));
      await eventually(() => expect(b.urls()).toEqual(['http://127.0.0.1:8101']));
      expect(a.peers.list()).toMatchObject([{ id: 'b', nodeId: 'b', sources: ['mdns'] }]);
    }
    // The asking is an hour away: only the goodbye can have told.
    await eventually(() => expect(a.urls()).toEqual([]));
    expect(a.warnings).toEqual([]);
  });

  it('drops a killed node when it is reported silent, and finds it again when it is back', async () => {
    await using a = await node('a', 8101, { askEvery: 50 });
    const options = settings('b', 8102);
    const killed = await DiscoveryProcess.start(options);
    await eventually(() => expect(a.urls()).toEqual(['http://127.0.0.1:8102']));
    await killed.kill();
    expect(a.urls()).toEqual(['http://127.0.0.1:8102']);

    a.peers.silent('http://127.0.0.1:8102');
    expect(a.urls()).toEqual([]);
    // Another node's coming shows that questions were asked and answered meanwhile.
    await using c = await node('c', 8103);
    await eventually(() => expect(a.urls()).toEqual(['http://127.0.0.1:8103']));
    expect(c.urls()).not.toContain('http://127.0.0.1:8102');

    await using _back = await DiscoveryProcess.start(options);
    await eventually(() => expect(a.urls()).toEqual(['http://127.0.0.1:8102', 'http://127.0.0.1:8103']));
  });

  it('finds a node again that was reported silent and only was slow', async () => {
    await using a = await node('a', 8101, { askEvery: 50 });
    await using _b = await node('b', 8102);
    await eventually(() => expect(a.urls()).toEqual(['http://127.0.0.1:8102']));
    a.peers.silent('http://127.0.0.1:8102');
    await eventually(() => expect(a.urls()).toEqual(['http://127.0.0.1:8102']));
  });

  it('keeps rooms apart', async () => {
    await using a = await node('a', 8101, { room: 'one' });
    await using b = await node('b', 8102, { room: 'two' });
    await using c = await node('c', 8103, { room: 'one' });
    await eventually(() => expect(a.urls()).toEqual(['http://127.0.0.1:8103']));
    await eventually(() => expect(c.urls()).toEqual(['http://127.0.0.1:8101']));
    expect(b.urls()).toEqual([]);
    expect([...a.warnings, ...b.warnings]).toEqual([]);
  });

  it('ignores hostile announcements with counted warnings, and goes on', async () => {
    await using a = await node('a', 8101);
    const good = { id: 'x', port: '9', v: '1', room: 'default', scheme: 'http', path: '' };
    const hostile: Record<string, string>[] = [
      { ...good, id: 'x\r\nSet-Cookie: y' },
      { ...good, id: '<script>alert(1)</script>' },
      { ...good, id: 'x'.repeat(200) },
      { ...good, port: '70000' },
      { ...good, port: '80@203.0.113.1' },
      { ...good, scheme: 'file' },
      { ...good, path: '//203.0.113.1' },
      { constructor: 'x' },
    ];
    const attacker = publisher();
    hostile.forEach((txt, i) => attacker.publish(`<script>\r\n${i}`, txt));
    await using socket = await udp({ port: 0 });
    for (let i = 0; i < 12; i++) await socket.send(Buffer.from('\xff'.repeat(i + 1), 'latin1'));
    for (let size = 12; size < 60; size += 6) await socket.send(Buffer.alloc(size, 0x84));

    await using _b = await node('b', 8102);
    await eventually(() => expect(a.urls()).toEqual(['http://127.0.0.1:8102']));
    await attacker.close();
    const told = a.warnings.join('\n');
    for (const reason of ['node id', 'port is out of range', 'scheme', 'path', 'room', 'not a DNS message']) {
      expect(told).toContain(reason);
    }
    expect(told).toContain('so far)');
    expect(told).not.toMatch(/script|Cookie|203\.0\.113/);
    expect(a.warnings.length).toBeLessThan(hostile.length + 4);
  });

  it('lets nobody say goodbye for a node at another address', async () => {
    await using a = await node('a', 8101);
    await using _b = await node('b', 8102);
    await eventually(() => expect(a.urls()).toEqual(['http://127.0.0.1:8102']));
    await using capture = await udp({ port, reuseAddr: true, join: true });
    const announcement = capture.next((bytes) => bytes.includes('room=default') && bytes.includes('port=8102'));
    await using _c = await node('c', 8103);
    const forged = Buffer.from(await announcement);
    expect(zeroTtl(forged)).toBe(true);
    const removed: string[] = [];
    a.peers.on('removed', ({ id }) => removed.push(id));
    await using stranger = await udp({ port: 0, address: '127.0.0.2' });
    await stranger.send(forged);
    // Whom the next one's announcement reached, the forged goodbye before it has reached as well.
    await using _d = await node('d', 8104);
    await eventually(() => expect(a.urls()).toContain('http://127.0.0.1:8104'));
    expect(removed).toEqual([]);
  });

  it('warns once about a port that is taken, leaves other sources at work, and recovers when it is free', async () => {
    const taken = await udp({ port });
    await using a = await node('a', 8101, { askEvery: 50 }, ['http://127.0.0.1:8102']);
    expect(a.urls()).toEqual(['http://127.0.0.1:8102']);
    expect(a.warnings).toEqual([expect.stringMatching(/EADDRINUSE.*P2P_DISCOVERY_PORT/)]);
    await taken[Symbol.asyncDispose]();
    await using _b = await node('b', 8103);
    await eventually(() => expect(a.urls()).toEqual(['http://127.0.0.1:8102', 'http://127.0.0.1:8103']));
    expect(a.warnings).toHaveLength(1);
  });

  it('stops cleanly while its port is taken', async () => {
    await using _taken = await udp({ port });
    const a = await node('a', 8101);
    await a[Symbol.asyncDispose]();
    expect(a.warnings).toHaveLength(1);
  });
});

function settings(nodeId: string, apiPort: number): Omit<MdnsSourceOptions, 'warn'> {
  const own = { nodeId, apiPort, room: 'default', protocol: 1, scheme: 'http', path: '' } as const;
  return { ...own, port, interface: LOOPBACK, askEvery: 3_600_000 };
}

async function node(
  nodeId: string,
  apiPort: number,
  more: Partial<MdnsSourceOptions> = {},
  configured: string[] = [],
): Promise<AsyncDisposable & { peers: PeerDirectory; warnings: string[]; urls(): string[] }> {
  const warnings: string[] = [];
  const warn = (message: string): void => void warnings.push(message);
  const peers = new PeerDirectory({
    self: { nodeId, urls: [`http://127.0.0.1:${apiPort}`] },
    manual: new ManualSource({ configured, book: emptyBook, warn }),
    sources: [new MdnsSource({ ...settings(nodeId, apiPort), ...more, warn })],
    warn,
  });
  await peers.start();
  return {
    peers,
    warnings,
    urls: () =>
      peers
        .list()
        .map(({ url }) => url)
        .sort(),
    [Symbol.asyncDispose]: () => peers.stop(),
  };
}

/** Announces what it is told, well-formed or not. */
function publisher() {
  const options = { port, interface: LOOPBACK, bind: '0.0.0.0', loopback: true, reuseAddr: true };
  const bonjour = new Bonjour(options as ConstructorParameters<typeof Bonjour>[0]);
  return {
    publish: (name: string, txt: object) => void bonjour.publish({ name, type: 'pgmesh', port: 9, txt, probe: false }),
    close: () => new Promise<void>((resolve) => bonjour.destroy(resolve)),
  };
}

async function udp(options: { port: number; address?: string; reuseAddr?: boolean; join?: boolean }) {
  const socket: Socket = createSocket({ type: 'udp4', reuseAddr: options.reuseAddr ?? false });
  socket.bind(options.port, options.address ?? '0.0.0.0');
  await once(socket, 'listening');
  if (options.join) socket.addMembership(GROUP, LOOPBACK);
  else socket.setMulticastInterface(LOOPBACK);
  return {
    port: socket.address().port,
    send: (bytes: Buffer) =>
      new Promise<void>((resolve, reject) =>
        socket.send(bytes, port, GROUP, (error) => (error ? reject(error) : resolve())),
      ),
    next: (wanted: (bytes: Buffer) => boolean) =>
      new Promise<Buffer>((resolve) => socket.on('message', (bytes) => wanted(bytes) && resolve(bytes))),
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => void socket.close(() => resolve())),
  };
}

/** Turns an announcement into a goodbye: bonjour's TTL of a PTR record, 28,800 s, becomes 0. */
function zeroTtl(packet: Buffer): boolean {
  const ttl = Buffer.from([0x00, 0x00, 0x70, 0x80]);
  const at = packet.indexOf(ttl);
  if (at >= 0) packet.fill(0, at, at + ttl.length);
  return at >= 0;
}
