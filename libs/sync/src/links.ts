import { Link } from './link';
import { LinkChoice, type LinkReason } from './link-choice';
import type { LinkContext } from './link-context';
import type { KnownPeer } from './peers';
import type { LinkStatus } from './status';

/** The links to those of the known peers that were chosen; the others are known, and idle. */
export class Links {
  #links: Link[] = [];
  #known: readonly KnownPeer[] = [];
  #chosen: ReadonlyMap<KnownPeer, LinkReason> = new Map();
  #ending: Promise<void>[] = [];
  /** Links that are not chosen any more, since when. */
  readonly #surplus = new Map<Link, number>();
  readonly #choice: LinkChoice;
  readonly #context: LinkContext;
  #timer: NodeJS.Timeout | null = null;
  #telling: NodeJS.Timeout | null = null;

  /** @param bound peers to link to at most; Infinity for all */
  constructor(context: Omit<LinkContext, 'changed'>, bound: number) {
    this.#context = { ...context, changed: (link) => this.#changed(link) };
    const { store, times, clock } = context;
    this.#choice = new LinkChoice(store.identity.nodeId, bound, times.rest, clock);
  }

  get all(): readonly Link[] {
    return this.#links;
  }

  /** The nodes that we have a live link to. */
  get live(): readonly string[] {
    return this.#links.flatMap(({ isLive, nodeId }) => (isLive && nodeId !== null ? [nodeId] : []));
  }

  start(): void {
    const { times } = this.#context;
    // Who was given up is tried again some day, and a link that was replaced is not kept for ever.
    this.#timer = setInterval(() => this.follow(), times.interval);
    this.#timer.unref();
    this.follow();
  }

  async stop(): Promise<void> {
    if (this.#timer) clearInterval(this.#timer);
    if (this.#telling) clearTimeout(this.#telling);
    await Promise.all([...this.#links.splice(0).map((link) => link.stop()), ...this.#ending]);
  }

  /** It reached us: whatever we found before, it is there. */
  heardOf(nodeId: string): void {
    const peer = this.#known.find((one) => one.nodeId === nodeId);
    if (peer && this.#choice.heard(peer)) this.follow();
  }

  status(): LinkStatus[] {
    const linked = this.#links.map((link) => ({ ...link.status(), reason: this.#reasonOf(link) }));
    const idle = this.#known.filter((peer) => !this.#links.some((link) => link.leadsTo(peer)));
    return [...linked, ...idle.map(idleStatus)];
  }

  /** One link for each peer that is chosen. */
  follow(): void {
    const { peers, events } = this.#context;
    const listed = peers.list();
    const isKnown = among(this.#known);
    for (const peer of listed) if (!isKnown(peer)) events.emit({ type: 'peer_found', peer: peer.id, url: peer.url });
    this.#chosen = this.#choice.of(listed);
    const free = new Set(this.#links);
    const fresh: KnownPeer[] = [];
    for (const peer of listed) {
      const link = [...free].find((one) => one.leadsTo(peer));
      if (link) {
        link.follow(peer);
        free.delete(link);
        this.#mayEnd(link, peer);
      } else if (this.#chosen.has(peer)) fresh.push(peer);
    }
    for (const link of free) this.#end(link);
    const isListed = among(listed);
    for (const peer of this.#known) {
      if (!isListed(peer)) events.emit({ type: 'peer_left', peer: peer.id, url: peer.url });
    }
    this.#known = listed;
    for (const peer of fresh) {
      const link = new Link(this.#context, peer);
      this.#links.push(link);
      link.start();
    }
  }

  /** A link that was chosen in another's place is kept for a while: the other may not have come to stay. */
  #mayEnd(link: Link, peer: KnownPeer): void {
    if (this.#chosen.has(peer)) {
      this.#surplus.delete(link);
      return;
    }
    const { clock, times } = this.#context;
    const since = this.#surplus.get(link) ?? clock();
    this.#surplus.set(link, since);
    if (clock() - since >= times.linger && !link.isCopying) this.#end(link);
  }

  #end(link: Link): void {
    this.#links = this.#links.filter((other) => other !== link);
    this.#surplus.delete(link);
    const ended = link.stop().finally(() => {
      this.#ending = this.#ending.filter((other) => other !== ended);
    });
    this.#ending.push(ended);
  }

  /** It is live, or nothing answers there. */
  #changed(link: Link): void {
    if (!this.#links.includes(link)) return;
    const { known } = link;
    if (link.isLive) this.#tellLater();
    if (!link.isLive) this.#choice.failed(known);
    else if (!this.#choice.heard(known)) return;
    this.follow();
  }

  /**
   * Peers hold back what we get from others directly, so that they have to know of a new link soon; of several at once they are told
   * together. Who has just joined has little to ask of them that would tell it by the way.
   */
  #tellLater(): void {
    this.#telling ??= setTimeout(() => {
      this.#telling = null;
      for (const link of this.#links) link.linksChanged();
    }, this.#context.times.hold).unref();
  }

  #reasonOf(link: Link): LinkReason | null {
    return [...this.#chosen].find(([peer]) => link.leadsTo(peer))?.[1] ?? null;
  }
}

/** Whether a peer is one of these: the same node, or at one of its addresses. */
function among(peers: readonly KnownPeer[]): (peer: KnownPeer) => boolean {
  const nodes = new Set(peers.flatMap(({ nodeId }) => nodeId ?? []));
  const urls = new Set(peers.flatMap((peer) => peer.urls));
  return ({ nodeId, urls: its }) => (nodeId !== null && nodes.has(nodeId)) || its.some((url) => urls.has(url));
}

function idleStatus({ nodeId, url }: KnownPeer): LinkStatus {
  return {
    node_id: nodeId,
    url,
    state: 'idle',
    reason: null,
    last_sync: null,
    last_error: null,
    position: null,
    copying: null,
    lag_ms: 0,
    failures: 0,
    rules_differ: [],
    constraints_differ: [],
    sequences: null,
    compared: null,
    paused_tables: [],
  };
}
