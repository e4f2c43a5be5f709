/**
 * Peers that stand in DNS: the pods behind a headless Kubernetes service, or whatever else keeps the records of one name. A
 * record says that its node should be there: one that is silent stays until its record is gone.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { DiscoverySource, PeerAddress, Warn } from '../discovery-source';
import { parsePeerUrl } from '../peer-url';
import { Tally } from '../tally';
import type { DnsLookup } from './dns-lookup';
import type { DnsName } from './dns-name';

export interface DnsSourceOptions {
  readonly sought: DnsName;
  readonly lookup: DnsLookup;
  /** Of peers whose records have none. */
  readonly port: number;
  readonly warn: Warn;
  /** Between two lookups, in ms. */
  readonly every?: number;
}

const usualEvery = 10_000;
/** Whole answers in a row that a record may be missing from. */
const grace = 3;
/** More than any mesh needs to know; beyond it the name is not that of a mesh. */
const mostPeers = 256;

export class DnsSource implements DiscoverySource {
  readonly name = 'dns';
  readonly #oddities: Tally;
  readonly #stopping = new AbortController();
  /** URL → the whole answers in a row that it was missing from. */
  readonly #known = new Map<string, number>();
  #found: (peer: PeerAddress) => void = () => {};
  #lost: (peer: PeerAddress) => void = () => {};
  #running: Promise<void> = Promise.resolve();
  #troubled = false;

  constructor(private readonly options: DnsSourceOptions) {
    this.#oddities = new Tally(options.warn);
  }

  async start(found: (peer: PeerAddress) => void, lost: (peer: PeerAddress) => void): Promise<void> {
    this.#found = found;
    this.#lost = lost;
    this.#running = this.#run(this.#stopping.signal);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.options.lookup.cancel();
    await this.#running;
    this.#known.clear();
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { lookup, sought, every = usualEvery } = this.options;
    while (!signal.aborted) {
      const { hosts, trouble } = await lookup.look(sought);
      if (signal.aborted) return;
      const seen = hosts.flatMap(({ host, port }) => this.#urlOf(host, port));
      for (const url of seen) this.#here(url);
      if (trouble === null) this.#missing(seen);
      this.#tell(trouble);
      await sleep(every, undefined, { signal }).catch(() => undefined); // ended while asleep
    }
  }

  #urlOf(host: string, port: number | null): string[] {
    const { sought, port: usual } = this.options;
    const parsed = parsePeerUrl(`${sought.scheme}://${host}:${port ?? usual}`);
    if (parsed.ok) return [parsed.url];
    this.#oddities.count(`A record of ${sought.name} was ignored: ${parsed.message}`, this.name);
    return [];
  }

  #here(url: string): void {
    if (!this.#known.has(url)) {
      if (this.#known.size >= mostPeers) {
        this.#oddities.count(`A record was ignored: ${this.options.sought.name} has more than ${mostPeers}`, url);
        return;
      }
      this.#found({ url, source: this.name });
    }
    this.#known.set(url, 0);
  }

  #missing(seen: readonly string[]): void {
    for (const [url, missed] of this.#known) {
      if (seen.includes(url)) continue;
      this.#known.set(url, missed + 1);
      if (missed + 1 < grace) continue;
      this.#known.delete(url);
      this.#lost({ url, source: this.name });
    }
  }

  /** Once for as long as it lasts. */
  #tell(trouble: string | null): void {
    if (trouble !== null && !this.#troubled) {
      this.options.warn(
        `${this.options.sought.name} cannot be looked up (P2P_DNS_NAME): ${trouble}. It is tried again by itself; peers that are known ` +
          'stay. Write the whole name (no search domains are used), and check P2P_DNS_SERVERS.',
      );
    }
    this.#troubled = trouble !== null;
  }
}
