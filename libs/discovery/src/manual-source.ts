/** Peers named by people: in the configuration (`P2P_PEERS`), and at run time, kept in the peer book. */
import type { DiscoverySource, PeerAddress, Warn } from './discovery-source';
import type { PeerBook } from './peer-book';
import { parsePeerUrl } from './peer-url';

export interface ManualSourceOptions {
  /** URLs from the configuration. */
  readonly configured: readonly string[];
  readonly book: PeerBook;
  readonly warn: Warn;
}

export class ManualSource implements DiscoverySource {
  readonly name = 'manual';
  readonly #options: ManualSourceOptions;
  readonly #peers = new Map<string, PeerAddress>();
  readonly #configured = new Set<string>();
  #found: (peer: PeerAddress) => void = () => {};
  #lost: (peer: PeerAddress) => void = () => {};

  constructor(options: ManualSourceOptions) {
    this.#options = options;
  }

  async start(found: (peer: PeerAddress) => void, lost: (peer: PeerAddress) => void): Promise<void> {
    this.#found = found;
    this.#lost = lost;
    for (const text of this.#options.configured) {
      const url = this.#checked(text, 'P2P_PEERS');
      if (url === null) continue;
      this.#configured.add(url);
      this.#keep(url, null);
    }
    // Last, so that a book that cannot be read leaves the configured peers at work.
    for (const { url: text, nodeId } of await this.#options.book.all()) {
      const url = this.#checked(text, 'the peer book');
      if (url !== null) this.#keep(url, nodeId);
    }
  }

  async stop(): Promise<void> {
    this.#found = () => {};
    this.#lost = () => {};
  }

  has(url: string): boolean {
    return this.#peers.has(url);
  }

  /** Whether the configuration names it: it is back after the next start, even if it is removed now. */
  isConfigured(url: string): boolean {
    return this.#configured.has(url);
  }

  /** `url` is normalized. Written to the book first: what is not kept is not shown. */
  async add(url: string, nodeId: string | null): Promise<void> {
    await this.#options.book.put(url, nodeId);
    this.#keep(url, nodeId);
  }

  async remove(url: string): Promise<void> {
    await this.#options.book.remove(url);
    const peer = this.#peers.get(url);
    if (!peer) return;
    this.#peers.delete(url);
    this.#lost(peer);
  }

  #keep(url: string, nodeId: string | null): void {
    const peer: PeerAddress = { url, source: this.name, ...(nodeId === null ? {} : { nodeId }) };
    this.#peers.set(url, peer);
    this.#found(peer);
  }

  #checked(text: string, from: string): string | null {
    const parsed = parsePeerUrl(text);
    if (parsed.ok) return parsed.url;
    this.#options.warn(`A peer in ${from} is left out: ${parsed.message}`);
    return null;
  }
}
