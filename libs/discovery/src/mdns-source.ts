/**
 * Peers on the same network, by multicast DNS (RFC 6762), over IPv4. A node announces itself, answers who asks, and
 * says goodbye. A killed node says nothing, and its record would stand for hours: `forget` is how the sync layer, which
 * sees that nobody answers there, has it dropped until it speaks again.
 */
import { type OwnAnnouncement, readAnnouncements } from './announcement';
import type { DiscoverySource, PeerAddress, Warn } from './discovery-source';
import { MdnsSocket, type MdnsSocketOptions } from './mdns-socket';
import { Tally } from './tally';

export interface MdnsSourceOptions extends OwnAnnouncement, MdnsSocketOptions {
  readonly warn: Warn;
  /** How often to ask who is there, in ms. Announcements come by themselves: this is for those that were missed. */
  readonly askEvery?: number;
}

const ASK_EVERY = 5_000;
/** More peers than any mesh has; beyond it someone is making them up. */
const MOST_PEERS = 256;

interface Heard {
  readonly instance: string;
  readonly from: string;
  readonly nodeId: string;
}

export class MdnsSource implements DiscoverySource {
  readonly name = 'mdns';
  readonly #options: MdnsSourceOptions;
  readonly #oddities: Tally;
  readonly #troubles = new Set<string>();
  /** By URL. */
  readonly #heard = new Map<string, Heard>();
  #found: (peer: PeerAddress) => void = () => {};
  #lost: (peer: PeerAddress) => void = () => {};
  #socket: MdnsSocket | null = null;
  #asking: NodeJS.Timeout | undefined;

  constructor(options: MdnsSourceOptions) {
    this.#options = options;
    this.#oddities = new Tally(options.warn);
  }

  async start(found: (peer: PeerAddress) => void, lost: (peer: PeerAddress) => void): Promise<void> {
    this.#found = found;
    this.#lost = lost;
    const { port, interface: own } = this.#options;
    const socket = new MdnsSocket(own === undefined ? { port } : { port, interface: own }, {
      heard: (records, from) => this.#read(records, from),
      garbled: () => this.#oddities.count('A packet on the discovery port was ignored', 'it is not a DNS message'),
      trouble: (error) => this.#trouble(error),
    });
    this.#socket = socket;
    await socket.opened;
    socket.publish(this.#options);
    socket.ask();
    this.#asking = setInterval(() => socket.ask(), this.#options.askEvery ?? ASK_EVERY);
    this.#asking.unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#asking);
    await this.#socket?.close();
    this.#socket = null;
    this.#heard.clear();
  }

  forget(url: string): void {
    if (this.#heard.delete(url)) this.#lost(this.#address(url));
  }

  #read(records: Parameters<typeof readAnnouncements>[0], from: string): void {
    // Linux hands a socket bound to all addresses what any program on this machine has joined: a node that keeps to
    // loopback would hear of other machines, and one on a network of its neighbours that keep to loopback.
    const { interface: own } = this.#options;
    if (own !== undefined && isLoopback(own) !== isLoopback(from)) return;
    for (const said of readAnnouncements(records, from, this.#options)) {
      if (said.kind === 'here') this.#here(said.url, { instance: said.instance, from, nodeId: said.nodeId });
      else if (said.kind === 'goodbye') this.#goodbye(said.instance, from);
      else if (said.kind === 'ignored') this.#oddities.count(`An mDNS announcement was ignored: ${said.reason}`, from);
    }
  }

  #here(url: string, heard: Heard): void {
    if (heard.nodeId === this.#options.nodeId) return;
    const known = this.#heard.get(url);
    if (!known && this.#heard.size >= MOST_PEERS) {
      this.#oddities.count(`An mDNS announcement was ignored: ${MOST_PEERS} peers are known already`, heard.from);
      return;
    }
    this.#heard.set(url, heard);
    if (known?.nodeId !== heard.nodeId) this.#found(this.#address(url, heard.nodeId));
    // Found before lost: a node whose path or scheme has changed does not leave in between.
    this.#goodbye(heard.instance, heard.from, url);
  }

  /** Only from where the announcement came: nobody says goodbye for another machine. */
  #goodbye(instance: string, from: string, exceptUrl?: string): void {
    for (const [url, heard] of this.#heard) {
      if (url !== exceptUrl && heard.instance === instance && heard.from === from) this.forget(url);
    }
  }

  #address(url: string, nodeId?: string): PeerAddress {
    return { url, source: this.name, ...(nodeId === undefined ? {} : { nodeId }) };
  }

  /** Once for each kind of trouble: asking goes on, so that it is over when the network is back. */
  #trouble(error: NodeJS.ErrnoException): void {
    const code = error.code ?? error.message;
    if (this.#troubles.has(code)) return;
    this.#troubles.add(code);
    const { port, interface: own } = this.#options;
    const where = `UDP port ${port}${own === undefined ? '' : `, interface ${own}`}`;
    this.#options.warn(
      `Peers cannot be discovered by mDNS for now (${where}): ${error.message}. ${REMEDY[code] ?? NO_NETWORK} ` +
        'It is tried again by itself; peers named in P2P_PEERS or added by POST /p2p/peers are not affected.',
    );
  }
}

const NO_NETWORK = 'Check the network, or leave mdns out of P2P_DISCOVERY_MODE.';
const REMEDY: Partial<Record<string, string>> = {
  EADDRINUSE: 'Another program holds the port for itself: stop it, or set P2P_DISCOVERY_PORT to another on every node.',
  EACCES: 'This user may not open the port: set P2P_DISCOVERY_PORT to one above 1023 on every node.',
};

const isLoopback = (address: string): boolean => address.startsWith('127.');
