import { formatRules, type Position } from '@pgmesh/core';
import { Problem } from '@pgmesh/wire';
import { AntiEntropy } from './compare/anti-entropy';
import { ComparisonAnswers } from './compare/answers';
import type { ComparedPeer, CompareOptions } from './compare/result';
import { MeshEvents } from './events';
import { Collection } from './collection';
import { Exchange } from './exchange';
import { failureOf } from './failure';
import { HttpClient } from './http-client';
import { Instances } from './instances';
import { Journal } from './journal';
import type { Link } from './link';
import type { LinkContext, MeshTimes } from './link-context';
import { Links } from './links';
import { Load } from './load';
import { Membership } from './membership';
import { hasDialled, Neighbours } from './neighbours';
import { Pace } from './pace';
import type { PeerClient } from './peer-client';
import type { Peers } from './peers';
import type { InTouch, Store } from './ports';
import type { RoundResult } from './round';
import { Self } from './self';
import type { MeshStatus } from './status';
import { Turnstile } from './turnstile';

export interface MeshOptions {
  readonly store: Store;
  readonly peers: Peers;
  /** Where we can be dialled; null when we cannot, or not yet. */
  readonly url: () => string | null;
  /** P2P_ROOM. */
  readonly room?: string;
  /** P2P_SYNC_INTERVAL, in milliseconds. */
  readonly interval?: number;
  /** P2P_BATCH_SIZE, in rows. */
  readonly batch?: number;
  /** P2P_TIMEOUT, in milliseconds. */
  readonly timeout?: number;
  /** P2P_MAX_RETRIES. */
  readonly retries?: number;
  /** P2P_LINKS: peers to link to at most; all unless said. */
  readonly links?: number;
  /** P2P_VERIFY_INTERVAL, in milliseconds; 0, and unless given: rows are compared on demand alone. */
  readonly verifyInterval?: number;
  /** P2P_VERIFY_REPAIR. */
  readonly verifyRepair?: boolean;
  /** P2P_MEMBER_CAP, in milliseconds; null: a silent member is waited for until somebody evicts it. */
  readonly memberCap?: number | null;
  /** Milliseconds between two looks for deletions that may be forgotten; null unless given: none is. */
  readonly collect?: number | null;
  /** P2P_SECRET. */
  readonly secret?: string | null;
  /** Certificates, in PEM, to trust beside those that Node trusts. */
  readonly ca?: string | Buffer | null;
  readonly times?: Partial<Omit<MeshTimes, 'interval'>>;
  readonly client?: PeerClient;
  readonly clock?: () => number;
  readonly random?: () => number;
  readonly warn?: (message: string) => void;
}

/** How one peer fared in `syncNow`. */
export interface SyncOutcome extends RoundResult {
  readonly peer: string;
  readonly error: { readonly code: string; readonly detail: string } | null;
}

/** A node among its peers: the links to them, and the answers to theirs. */
export class Mesh {
  readonly events: MeshEvents;
  /** What the HTTP controllers call. */
  readonly exchange: Exchange;
  /** The same for nodes that compare their rows with ours. */
  readonly comparisons: ComparisonAnswers;
  readonly #antiEntropy: AntiEntropy;
  /** Who belongs to the mesh. */
  readonly membership: Membership;
  readonly #collection: Collection;
  readonly #context: Omit<LinkContext, 'changed'>;
  readonly #room: string;
  readonly #endings: (() => void)[] = [];
  readonly #links: Links;
  #comparing: Promise<unknown> = Promise.resolve();

  constructor(options: MeshOptions) {
    const { store, peers, url, room = '', clock = Date.now, random = Math.random } = options;
    const { interval = 30_000, timeout = 30_000, batch = 10_000, retries = 3, secret, ca } = options;
    this.#room = room;
    const links = (): readonly string[] => this.links();

    // Whom we talk to
    const neighbours = new Neighbours(clock);
    const isLinked = (nodeId: string): boolean => {
      const neighbour = neighbours.get(nodeId);
      return links().includes(nodeId) || (neighbour !== undefined && hasDialled(neighbour, clock(), interval));
    };
    const inTouch: InTouch = (nodeId) => (isLinked(nodeId) ? (neighbours.get(nodeId)?.epoch ?? null) : null);

    // What is told of it
    this.events = new MeshEvents(store.identity.nodeId, clock, options.warn);
    const journal = new Journal(this.events, store.history, clock);
    const instances = new Instances(clock, 3 * interval, ({ code, message }, peer) => {
      void journal.failed(peer, 'received', code, message);
    });

    // Who belongs to the mesh, and who we are
    this.membership = new Membership({
      store,
      events: this.events,
      journal,
      clock,
      interval,
      cap: options.memberCap ?? null,
      isLinked,
      warn: options.warn ?? ((message) => process.emitWarning(message)),
    });
    const { membership } = this;
    this.#collection = new Collection({
      store,
      events: this.events,
      interval: options.collect ?? null,
      random,
      warn: options.warn ?? ((message) => process.emitWarning(message)),
    });
    const copies = new Turnstile();
    const load = new Load(clock, () => copies.bringsRows);
    const self = new Self({ store, room, url, links, load: () => load.now, digest: () => membership.digest() });

    // The two sides: answering, and asking
    const moved = (peer: string, position: Position): void =>
      this.#links.all.filter(({ nodeId }) => nodeId === peer).forEach((link) => link.moved(position));
    this.exchange = new Exchange({
      store,
      self,
      neighbours,
      instances,
      membership,
      journal,
      clock,
      copies,
      load,
      copyDelay: timeout / 2,
      inTouch,
      moved,
    });
    this.comparisons = new ComparisonAnswers({ store, neighbours, journal, links });
    const client = options.client ?? new HttpClient({ timeout, secret, ca });
    const times: MeshTimes = {
      interval,
      wait: 25_000,
      hold: 250,
      grace: 2_000,
      gather: 300,
      firstRetry: 200,
      silence: 10 * interval,
      linger: 2 * interval,
      rest: 10 * interval,
      ...options.times,
    };
    const { events } = this;
    const context = {
      store,
      self,
      peers,
      neighbours,
      instances,
      membership,
      client,
      events,
      journal,
      clock,
      random,
      times,
      pace: new Pace(),
      copies,
      batch,
      retries,
      links,
      inTouch,
    };
    this.#links = new Links(context, options.links ?? Infinity);
    this.#context = context;

    // Comparing what is here with what is there
    this.#antiEntropy = new AntiEntropy({
      interval: options.verifyInterval ?? 0,
      repair: options.verifyRepair ?? true,
      random,
      events,
      links: () => this.#links.all,
      begins: (peer) => !neighbours.get(peer)?.links.includes(store.identity.nodeId) || store.identity.nodeId < peer,
    });
  }

  /** The nodes that we have a live link to. */
  links(): readonly string[] {
    return this.#links.live;
  }

  start(): void {
    const { peers, store, neighbours, events, journal } = this.#context;
    const follow = (): void => this.#links.follow();
    this.#endings.push(
      peers.on('added', follow),
      peers.on('removed', follow),
      peers.on('changed', follow),
      store.feed.onNews(() => {
        events.emit({ type: 'news' });
        for (const link of this.#links.all) link.news();
      }),
      store.onParking((change) => journal.parking(change)),
      store.onForms(() => {
        for (const link of this.#links.all) link.formsChanged();
      }),
      neighbours.on((nodeId, what) => {
        if (what === 'dialled') this.#links.heardOf(nodeId);
        for (const link of this.#links.all) {
          // Whoever has just started may be the one that an address known by hand leads to.
          if (link.nodeId !== nodeId && !(what === 'dialled' && link.nodeId === null)) continue;
          if (what === 'dialled') link.dialled();
          else if (what === 'told') link.told();
          else link.asked();
        }
      }),
    );
    this.membership.start();
    this.#collection.start();
    this.#links.start();
    this.#antiEntropy.start();
  }

  /** What is under way is broken off: it had not been applied, and is asked for again after the next start. */
  async stop(): Promise<void> {
    for (const end of this.#endings.splice(0)) end();
    this.exchange.close();
    await this.#antiEntropy.stop();
    await this.#links.stop();
    await this.membership.stop();
    await this.#collection.stop();
    await this.#context.client.close();
  }

  status(): MeshStatus {
    const { store, neighbours, times, clock } = this.#context;
    const peers = this.#links.status();
    const synced = peers.flatMap(({ last_sync }) => (last_sync === null ? [] : [last_sync])).sort();
    return {
      node_id: store.identity.nodeId,
      epoch: store.identity.epoch,
      room: this.#room,
      tables: store.tables(),
      sequences: store.slot,
      active_peers: peers.filter(({ state }) => state === 'live').length,
      linked_by: neighbours.linkedTo(store.identity.nodeId, clock() - 2.5 * times.interval),
      last_sync: synced.at(-1) ?? null,
      sync_running: peers.some(({ state, copying, lag_ms }) => state === 'live' && (copying !== null || lag_ms > 0)),
      peers,
    };
  }

  /** The store decides conflicts by other rules: peers and listeners are told. */
  rulesChanged(): void {
    const { events, store } = this.#context;
    events.emit({ type: 'rules_changed', rules: formatRules(store.rules) });
    for (const link of this.#links.all) link.rulesChanged();
  }

  /**
   * Pulls from and pushes to one peer, or all, now, and tells how it went. Windows go over all shared tables at once, for
   * they are consistent states; `tables` narrows what is told.
   * @throws Problem `not_found` for a peer or a table that is not there
   */
  async syncNow(peer?: string, tables?: readonly string[]): Promise<SyncOutcome[]> {
    return Promise.all(this.#linksTo(peer, tables).map((link) => this.#outcome(link, tables)));
  }

  /**
   * Compares our rows with those of one peer, or of all that are live, one after the other, and repairs what differs where that is asked for
   * (docs/verify.md). One such comparison at a time.
   * @throws Problem `not_found` for a peer or a table that is not there
   */
  async compare(
    { peer, tables, ...options }: CompareOptions & { readonly peer?: string; readonly tables?: readonly string[] },
    signal: AbortSignal = new AbortController().signal,
  ): Promise<ComparedPeer[]> {
    const links = this.#linksTo(peer, tables).filter(({ isLive }) => peer !== undefined || isLive);
    const compared: ComparedPeer[] = [];
    for (const link of links) {
      compared.push(await this.#inTurn(() => link.compare(tables, options, signal)));
    }
    return compared;
  }

  /** @throws Problem `not_found` for a peer, by node id or URL, that is not there */
  assertKnown(peer: string | undefined): void {
    this.#linksTo(peer, undefined);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#comparing.then(work);
    this.#comparing = turn.catch(() => undefined); // told to whoever asked for it
    return turn;
  }

  #linksTo(peer: string | undefined, tables: readonly string[] | undefined): Link[] {
    const shared = this.#context.store.tables();
    const unknown = tables?.find((table) => !shared.includes(table));
    if (unknown !== undefined) throw new Problem('not_found', 'There is no such table here, or it is not shared.');
    const links = this.#links.all.filter(({ nodeId, url }) => peer === undefined || peer === nodeId || peer === url);
    if (peer === undefined || links.length > 0) return links;
    const isIdle = this.#links.status().some(({ node_id, url }) => peer === node_id || peer === url);
    const detail = isIdle
      ? 'There is no link to that peer: others bring its changes. Name one that is linked to (GET /p2p/peers), or add it by hand: POST /p2p/peers.'
      : 'There is no such peer.';
    throw new Problem('not_found', detail);
  }

  async #outcome(link: Link, tables: readonly string[] | undefined): Promise<SyncOutcome> {
    const name = (): string => link.nodeId ?? link.url;
    try {
      const result = await link.syncNow();
      const told = Object.entries(result.tables).filter(([table]) => tables === undefined || tables.includes(table));
      return { peer: name(), ...result, tables: Object.fromEntries(told), error: null };
    } catch (error) {
      const { code, detail } = failureOf(error);
      return { peer: name(), rows: 0, changed: 0, conflicts: 0, tables: {}, error: { code, detail } };
    }
  }
}
