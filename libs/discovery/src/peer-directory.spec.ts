import type { DiscoverySource, PeerAddress } from './discovery-source';
import { ManualSource } from './manual-source';
import type { PeerBook } from './peer-book';
import { PeerDirectory } from './peer-directory';

class MemoryBook implements PeerBook {
  readonly rows = new Map<string, string | null>();
  all = async () => [...this.rows].map(([url, nodeId]) => ({ url, nodeId }));
  put = async (url: string, nodeId: string | null) => void this.rows.set(url, nodeId);
  remove = async (url: string) => void this.rows.delete(url);
}

/** A source whose sightings the test decides. */
class Hearsay implements DiscoverySource {
  found!: (peer: PeerAddress) => void;
  lost!: (peer: PeerAddress) => void;
  readonly forgotten: string[] = [];
  constructor(readonly name: string) {}
  async start(found: (peer: PeerAddress) => void, lost: (peer: PeerAddress) => void) {
    this.found = found;
    this.lost = lost;
  }
  async stop() {}
  forget(url: string) {
    this.forgotten.push(url);
    this.lost({ url, source: this.name });
  }
}

interface Given {
  configured?: string[];
  book?: PeerBook;
  sources?: DiscoverySource[];
}

async function directory({ configured = [], book = new MemoryBook(), sources = [] }: Given = {}) {
  const warnings: string[] = [];
  const warn = (message: string) => void warnings.push(message);
  const peers = new PeerDirectory({
    self: { nodeId: 'me', urls: ['http://127.0.0.1:8001/'] },
    manual: new ManualSource({ configured, book, warn }),
    sources,
    warn,
  });
  const events: string[] = [];
  peers.on('added', ({ id }) => events.push(`+${id}`));
  peers.on('removed', ({ id }) => events.push(`-${id}`));
  peers.on('changed', ({ id }, before) => events.push(`${before.id}>${id}`));
  await peers.start();
  return { peers, warnings, events };
}

const A = 'http://10.0.0.1:8001';
const B = 'http://10.0.0.2:8001';

describe('the directory of peers', () => {
  it('keeps a peer found by two sources until the last has lost it', async () => {
    const mdns = new Hearsay('mdns');
    const dns = new Hearsay('dns');
    const { peers, events } = await directory({ sources: [mdns, dns] });
    mdns.found({ url: A, nodeId: 'a', source: 'mdns' });
    dns.found({ url: A, source: 'dns' });
    const both = { id: 'a', nodeId: 'a', url: A, urls: [A], sources: ['dns', 'mdns'], byHand: false };
    expect(peers.list()).toEqual([both]);
    mdns.lost({ url: A, source: 'mdns' });
    expect(peers.list()).toMatchObject([{ urls: [A], sources: ['dns'] }]);
    dns.lost({ url: A, source: 'dns' });
    expect(peers.list()).toEqual([]);
    expect(events).toEqual(['+a', 'a>a', 'a>http://10.0.0.1:8001', '-http://10.0.0.1:8001']);
  });

  it('makes two URLs of one node one peer when the node has answered at both', async () => {
    const { peers, events } = await directory({ configured: [A, B] });
    expect(peers.learn(A, 'a')).toBe('peer');
    expect(peers.learn(B, 'a')).toBe('peer');
    expect(peers.list()).toMatchObject([{ id: 'a', nodeId: 'a', urls: [A, B] }]);
    expect(events).toEqual([`+${A}`, `+${B}`, `${A}>a`, `-${B}`, 'a>a']);
    peers.learn(B, 'b');
    expect(peers.list()).toMatchObject([
      { id: 'a', urls: [A] },
      { id: 'b', urls: [B] },
    ]);
  });

  it('never lists its own node: by id, by URL, nor once its own answer came back', async () => {
    const mdns = new Hearsay('mdns');
    const { peers, events } = await directory({ configured: ['http://127.0.0.1:8001', A], sources: [mdns] });
    mdns.found({ url: 'http://10.9.9.9:8001', nodeId: 'me', source: 'mdns' });
    expect(peers.list().map(({ url }) => url)).toEqual([A]);
    expect(peers.learn(A, 'me')).toBe('self');
    expect(peers.list()).toEqual([]);
    expect(events).toEqual([`+${A}`, `-${A}`]);
    expect(await peers.add(A)).toMatchObject({ ok: false, reason: 'self' });
    expect(await peers.add('http://127.0.0.1:8001')).toMatchObject({ ok: false, reason: 'self' });
    expect(await peers.add(B, 'me')).toMatchObject({ ok: false, reason: 'self' });
  });

  it('keeps peers added by hand across restarts, until they are removed', async () => {
    const book = new MemoryBook();
    const first = await directory({ book });
    expect(await first.peers.add(`${A}/`, 'a')).toMatchObject({ ok: true, peer: { id: 'a', url: A } });
    await first.peers.stop();
    const second = await directory({ book });
    expect(second.peers.list()).toMatchObject([{ id: 'a', url: A, sources: ['manual'] }]);
    expect(await second.peers.remove('a')).toEqual({ ok: true, removed: [A], remains: [] });
    expect((await directory({ book })).peers.list()).toEqual([]);
  });

  it('says what will bring a removed peer back', async () => {
    const mdns = new Hearsay('mdns');
    const { peers } = await directory({ configured: [A], sources: [mdns] });
    mdns.found({ url: A, nodeId: 'a', source: 'mdns' });
    expect(await peers.remove(A)).toEqual({ ok: true, removed: [A], remains: ['configuration', 'mdns'] });
    expect(await peers.remove('a')).toMatchObject({ ok: false, reason: 'not_manual' });
    expect(await peers.remove('nobody')).toMatchObject({ ok: false, reason: 'unknown' });
  });

  it('refuses hostile URLs and names, and keeps nothing of them', async () => {
    const book = new MemoryBook();
    const { peers } = await directory({ book });
    expect(await peers.add('file:///etc/passwd')).toMatchObject({ ok: false, reason: 'scheme' });
    for (const name of ['', '<script>', 'a\r\nb', 'x'.repeat(64), 'é'.repeat(32), '../a']) {
      expect(await peers.add(A, name)).toMatchObject({ ok: false, reason: 'node_id' });
    }
    expect(book.rows.size).toBe(0);
  });

  it('does not list a peer that the book could not keep', async () => {
    const book = new MemoryBook();
    book.put = () => Promise.reject(new Error('the database is away'));
    const { peers } = await directory({ book });
    await expect(peers.add(A)).rejects.toThrow('the database is away');
    expect(peers.list()).toEqual([]);
  });

  it('drops a silent peer that was only heard of, and lists it again when it is heard again', async () => {
    const mdns = new Hearsay('mdns');
    const { peers, events } = await directory({ configured: [B], sources: [mdns] });
    mdns.found({ url: A, nodeId: 'a', source: 'mdns' });
    peers.silent(A);
    peers.silent(B);
    expect(mdns.forgotten).toEqual([A, B]);
    expect(peers.list().map(({ url }) => url)).toEqual([B]);
    mdns.found({ url: A, nodeId: 'a', source: 'mdns' });
    expect(events).toEqual([`+${B}`, '+a', '-a', '+a']);
  });

  it('goes on when a source cannot start, an entry is wrong or a listener fails, each with one warning', async () => {
    const broken = new Hearsay('dns');
    broken.start = () => Promise.reject(new Error('no resolver'));
    const mdns = new Hearsay('mdns');
    const { peers, warnings } = await directory({ configured: ['ftp://x', A], sources: [broken, mdns] });
    peers.on('added', () => {
      throw new Error('listener');
    });
    mdns.found({ url: B, source: 'mdns' });
    expect(peers.list().map(({ url }) => url)).toEqual([A, B]);
    expect(warnings).toEqual([
      expect.stringContaining('P2P_PEERS'),
      expect.stringContaining('Discovery by dns did not start: no resolver'),
      expect.stringContaining('A listener to "added" failed'),
    ]);
  });
});
