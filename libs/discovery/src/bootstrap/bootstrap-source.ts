/**
 * Peers that bootstrap nodes introduce. They only add to what is known: a peer leaves when the sync layer has found it silent
 * (`forget`), or when it is introduced at another address; never because a bootstrap node is away or has forgotten it.
 */
import { type BootstrapAnswer, protocolVersion } from '@pgmesh/wire';
import { randomUUID } from 'node:crypto';
import type { DiscoverySource, PeerAddress, Warn } from '../discovery-source';
import { isNodeName } from '@pgmesh/core';
import { parsePeerUrl } from '../peer-url';
import { Tally } from '../tally';
import type { BootstrapClient } from './bootstrap-client';
import { type BootstrapStatus, LeaseKeeper } from './lease-keeper';

export interface BootstrapSourceOptions {
  /** P2P_BOOTSTRAP_URL. */
  readonly bootstraps: readonly string[];
  readonly nodeId: string;
  readonly room: string;
  /** Where others can dial us; empty when they cannot. */
  readonly ownUrls: readonly string[];
  /** Closed with the source. */
  readonly client: BootstrapClient;
  readonly warn: Warn;
  readonly random?: () => number;
}

/** More addresses than anybody needs to know; a larger mesh holds together by those. */
const mostKnown = 256;
/** A goodbye that is not taken in this time (ms) is not waited for: the lease ends by itself. */
const goodbyeWithin = 2_000;

interface Known {
  readonly nodeId: string;
  /** The bootstrap nodes that say so. */
  readonly by: Set<string>;
}

export class BootstrapSource implements DiscoverySource {
  readonly name = 'bootstrap';
  readonly #keepers: readonly LeaseKeeper[];
  readonly #oddities: Tally;
  readonly #stopping = new AbortController();
  /** By URL. */
  readonly #known = new Map<string, Known>();
  #found: (peer: PeerAddress) => void = () => {};
  #lost: (peer: PeerAddress) => void = () => {};
  #running: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: BootstrapSourceOptions) {
    const { bootstraps, nodeId, room, ownUrls, client, warn, random = Math.random } = options;
    this.#oddities = new Tally(warn);
    const parts = {
      nodeId,
      room,
      ownUrls,
      client,
      warn,
      random,
      instance: randomUUID(),
      protocol: protocolVersion,
      introduced: (by: string, neighbours: BootstrapAnswer<'join'>['neighbours']) => this.#introduced(by, neighbours),
      knowsSomebody: () => this.#known.size > 0,
    };
    this.#keepers = [...new Set(bootstraps)].map((url) => new LeaseKeeper(url, parts));
  }

  /** At work at once: who waits for a bootstrap node that is away would not start without it. */
  async start(found: (peer: PeerAddress) => void, lost: (peer: PeerAddress) => void): Promise<void> {
    this.#found = found;
    this.#lost = lost;
    this.#running = Promise.all(this.#keepers.map((keeper) => keeper.run(this.#stopping.signal)));
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    const signal = AbortSignal.timeout(goodbyeWithin);
    await Promise.all(this.#keepers.map((keeper) => keeper.goodbye(signal)));
    await this.options.client.close();
    this.#known.clear();
  }

  forget(url: string): void {
    if (this.#known.delete(url)) this.#lost(this.#address(url));
  }

  status(): readonly BootstrapStatus[] {
    return this.#keepers.map((keeper) => keeper.status());
  }

  #introduced(by: string, neighbours: BootstrapAnswer<'join'>['neighbours']): void {
    for (const { node_id: nodeId, urls: told } of neighbours) {
      if (nodeId === this.options.nodeId) continue;
      if (!isNodeName(nodeId)) {
        this.#oddities.count('An introduction was ignored: the node id is not a valid name', by);
        continue;
      }
      const urls = told.flatMap((text) => this.#dialable(text, by));
      for (const url of urls) this.#here(url, nodeId, by);
      // Found before lost: a node that has moved does not leave in between.
      for (const [url, known] of this.#known) {
        if (known.nodeId !== nodeId || urls.includes(url) || !known.by.delete(by)) continue;
        if (known.by.size === 0) this.forget(url);
      }
    }
  }

  #dialable(text: string, by: string): string[] {
    const parsed = parsePeerUrl(text);
    if (parsed.ok) return [parsed.url];
    this.#oddities.count(`An introduction was ignored: ${parsed.message}`, by);
    return [];
  }

  #here(url: string, nodeId: string, by: string): void {
    const known = this.#known.get(url);
    if (known?.nodeId === nodeId) {
      known.by.add(by);
      return;
    }
    if (!known && this.#known.size >= mostKnown) return;
    this.#known.set(url, { nodeId, by: new Set([by]) });
    this.#found(this.#address(url, nodeId));
  }

  #address(url: string, nodeId?: string): PeerAddress {
    return { url, source: this.name, ...(nodeId === undefined ? {} : { nodeId }) };
  }
}
