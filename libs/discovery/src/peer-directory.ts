/**
 * The one list of peers, whoever found them. It holds what each source sees and what nodes answered at which URL, and
 * derives the peers from it (`peersOf`); listeners hear the difference.
 */
import type { DiscoverySource, PeerAddress, Warn } from './discovery-source';
import type { ManualSource } from './manual-source';
import { isNodeName } from '@pgmesh/core';
import { changesBetween, isSelf, type Peer, type PeerChange, peersOf, type Self, type Sighting } from './peer';
import { parsePeerUrl, type PeerUrlProblem } from './peer-url';

export interface PeerDirectoryOptions {
  readonly self: Self;
  readonly manual: ManualSource;
  /** The other sources: mDNS and whatever else implements the port. */
  readonly sources: readonly DiscoverySource[];
  readonly warn: Warn;
}

export interface PeerEvents {
  added: (peer: Peer) => void;
  removed: (peer: Peer) => void;
  changed: (peer: Peer, before: Peer) => void;
}

export type AddOutcome =
  | { readonly ok: true; readonly peer: Peer }
  | { readonly ok: false; readonly reason: PeerUrlProblem | 'self' | 'node_id'; readonly message: string };

export type RemoveOutcome =
  | {
      readonly ok: true;
      readonly removed: readonly string[];
      /** What will bring it back, for the one who asked: `configuration`, or the other sources that still see it. */
      readonly remains: readonly string[];
    }
  | { readonly ok: false; readonly reason: 'unknown' | 'not_manual'; readonly message: string };

/** `unknown`: no source sees that URL. `self`: it leads back to this node, and is no longer listed. */
export type LearnOutcome = 'peer' | 'self' | 'unknown';

interface MutableSighting extends Sighting {
  readonly claims: Map<string, string | null>;
  answeredBy: string | null;
}

export class PeerDirectory {
  readonly #self: Self;
  readonly #manual: ManualSource;
  readonly #sources: readonly DiscoverySource[];
  readonly #warn: Warn;
  readonly #sightings = new Map<string, MutableSighting>();
  readonly #listeners = {
    added: new Set<PeerEvents['added']>(),
    removed: new Set<PeerEvents['removed']>(),
    changed: new Set<PeerEvents['changed']>(),
  };
  #peers: readonly Peer[] = [];
  #stopped = false;

  constructor(options: PeerDirectoryOptions) {
    this.#self = { nodeId: options.self.nodeId, urls: options.self.urls.map(normalized) };
    this.#manual = options.manual;
    this.#sources = [options.manual, ...options.sources];
    this.#warn = options.warn;
  }

  /** A source that cannot start costs a warning; the others go on. */
  async start(): Promise<void> {
    this.#stopped = false;
    await this.#each('start', (source) =>
      source.start(
        (peer) => this.#found(peer),
        (peer) => this.#lost(peer),
      ),
    );
  }

  /** Says goodbye where a source can. The peers stay listed: they have not gone, we have. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#each('stop', (source) => source.stop());
  }

  list(): readonly Peer[] {
    return this.#peers;
  }

  /** Returns what ends the listening. */
  on<E extends keyof PeerEvents>(event: E, listener: PeerEvents[E]): () => void {
    const listeners = this.#listeners[event] as Set<PeerEvents[E]>;
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  /** By hand, kept across restarts. Rejects only when the peer book cannot be written. */
  async add(text: string, nodeId?: string): Promise<AddOutcome> {
    const parsed = parsePeerUrl(text);
    if (!parsed.ok) return parsed;
    if (nodeId !== undefined && !isNodeName(nodeId)) {
      const message =
        'The peer_id is no node name: letters, digits and "._:-", at most 63 bytes. Leave it out if unsure.';
      return { ok: false, reason: 'node_id', message };
    }
    const { url } = parsed;
    const asked: Sighting = this.#sightings.get(url) ?? { url, claims: new Map(), answeredBy: null };
    if (nodeId === this.#self.nodeId || isSelf(asked, this.#self)) return itself(url);

    await this.#manual.add(url, nodeId ?? null);
    const peer = this.#peers.find(({ urls }) => urls.includes(url));
    // Absent only if the node that answers there turned out to be ourselves while the book was being written.
    return peer ? { ok: true, peer } : itself(url);
  }

  /** Takes a node id (all its addresses added by hand), or one URL. */
  async remove(idOrUrl: string): Promise<RemoveOutcome> {
    const url = normalized(idOrUrl);
    const peer = this.#peers.find(({ id, urls }) => id === idOrUrl || urls.includes(url));
    const asked = !peer || peer.urls.includes(url) ? [url] : peer.urls;
    // A manual URL that leads to ourselves is not listed, but its owner must be able to take it back.
    const byHand = asked.filter((one) => this.#manual.has(one));
    if (byHand.length === 0) return peer ? notManual(peer) : unknown(idOrUrl);

    for (const one of byHand) await this.#manual.remove(one);
    const still = this.#peers.find(({ id, urls }) => id === peer?.id || urls.some((one) => asked.includes(one)));
    const configured = byHand.some((one) => this.#manual.isConfigured(one)) ? ['configuration'] : [];
    return { ok: true, removed: byHand, remains: [...configured, ...(still?.sources ?? [])] };
  }

  /** The sync layer tells which node answered at a URL. Two URLs of one node become one peer. */
  learn(text: string, nodeId: string): LearnOutcome {
    const sighting = this.#sightings.get(normalized(text));
    if (!sighting) return 'unknown';
    if (sighting.answeredBy !== nodeId) {
      sighting.answeredBy = nodeId;
      this.#derive();
    }
    return isSelf(sighting, this.#self) ? 'self' : 'peer';
  }

  /**
   * The sync layer tells that nothing has answered at a URL for long. Sources that only heard of it drop it (and find
   * it again when it is announced anew); peers named by hand stay.
   */
  silent(text: string): void {
    const url = normalized(text);
    for (const source of this.#sources) source.forget?.(url);
  }

  #found({ url, nodeId, source }: PeerAddress): void {
    const sighting = this.#sightings.get(url) ?? { url, claims: new Map(), answeredBy: null };
    const claim = nodeId ?? null;
    if (sighting.claims.has(source) && sighting.claims.get(source) === claim) return;
    // Another node is said to be there now: what answered before may be gone, and the next answer will tell.
    if (claim !== null && sighting.claims.has(source)) sighting.answeredBy = null;
    sighting.claims.set(source, claim);
    this.#sightings.set(url, sighting);
    this.#derive();
  }

  #lost({ url, source }: PeerAddress): void {
    const sighting = this.#sightings.get(url);
    if (!sighting?.claims.delete(source)) return;
    if (sighting.claims.size === 0) this.#sightings.delete(url);
    this.#derive();
  }

  #derive(): void {
    const before = this.#peers;
    this.#peers = peersOf(this.#sightings.values(), this.#self);
    if (this.#stopped) return;
    for (const change of changesBetween(before, this.#peers)) this.#tell(change);
  }

  #tell(change: PeerChange): void {
    for (const listener of [...this.#listeners[change.kind]]) {
      try {
        if (change.kind === 'changed') listener(change.peer, change.before);
        else (listener as PeerEvents['added'])(change.peer);
      } catch (error) {
        // Many changes begin in a socket's callback, where an exception would end the process.
        this.#warn(`A listener to "${change.kind}" failed for peer ${change.peer.id}: ${said(error)}`);
      }
    }
  }

  async #each(what: 'start' | 'stop', run: (source: DiscoverySource) => Promise<void>): Promise<void> {
    const warn = ({ name }: DiscoverySource, error: unknown): void =>
      this.#warn(`Discovery by ${name} did not ${what}: ${said(error)}. The other sources go on.`);
    await Promise.all(this.#sources.map((source) => run(source).catch((error: unknown) => warn(source, error))));
  }
}

/** What is no URL stays as it is: it is then found nowhere. */
function normalized(text: string): string {
  const parsed = parsePeerUrl(text);
  return parsed.ok ? parsed.url : text;
}

const itself = (url: string): AddOutcome => ({
  ok: false,
  reason: 'self',
  message: `${url} is this node itself. Give the address of another node.`,
});

const unknown = (idOrUrl: string): RemoveOutcome => ({
  ok: false,
  reason: 'unknown',
  message: `No peer ${JSON.stringify(idOrUrl.slice(0, 80))} is known. GET /p2p/peers lists those that are.`,
});

const notManual = (peer: Peer): RemoveOutcome => ({
  ok: false,
  reason: 'not_manual',
  message: `Peer ${peer.id} was found by ${peer.sources.join(', ')}, not added by hand; it leaves when it stops or goes silent.`,
});

const said = (error: unknown): string => (error instanceof Error ? error.message : String(error));
