import { advance, beginning, type FeedRequest, parseSnapshot, type Position } from '@pgmesh/core';
import {
  type Frame,
  fromWireKnowledge,
  fromWireSeen,
  type Hello,
  type HintAnswer,
  helloSchema,
  hintSchema,
  parseBody,
  Problem,
  protocolVersion,
  type PushAnswer,
  toWireKnowledge,
  toWirePosition,
  toWireSeen,
  type WindowFrame,
  type WindowRequest,
  windowRequestSchema,
  stepOf,
} from '@pgmesh/wire';
import { encodeBody } from './content-encoding';
import { Incoming, otherNode, otherProtocol } from './incoming';
import type { Instances } from './instances';
import type { Journal } from './journal';
import type { Load } from './load';
import type { Membership } from './membership';
import type { Neighbours } from './neighbours';
import { openFor, type Reader, readerOf } from './offer';
import { Outgoing } from './outgoing';
import type { InTouch, OutgoingWindow, Store } from './ports';
import type { Self } from './self';
import type { Turnstile } from './turnstile';
import { Wakeup } from './wakeup';

/** A window that is about to be answered. Whoever does not read `body` to its end must `close` it. */
export interface Served {
  readonly head: WindowFrame;
  readonly rows: number;
  readonly body: AsyncIterable<Buffer>;
  close(): Promise<void>;
}

export interface ExchangeParts {
  readonly store: Store;
  readonly self: Self;
  readonly neighbours: Neighbours;
  readonly instances: Instances;
  readonly membership: Membership;
  readonly journal: Journal;
  readonly clock: () => number;
  /** Through which our own first copies pass. */
  readonly copies: Turnstile;
  readonly load: Load;
  /** Milliseconds that who wants to begin a first copy is kept waiting while we are in one ourselves. */
  readonly copyDelay: number;
  readonly inTouch: InTouch;
  /** Told how far a peer's push has brought us in its feed. */
  readonly moved: (peer: string, position: Position) => void;
}

/** Who asks from a position stands there: it may have learned of it from others since it greeted us. */
function standing(
  { tables, from }: FeedRequest & { kind: 'window' },
  epoch: string,
  before: Position | null = null,
): { position?: Position } {
  if (before?.epoch === epoch && tables.every((table) => before.tables.includes(table))) return {};
  return { position: { epoch, tables, snapshot: from, complete: beginning, reached: from, copy: null } };
}

/** The answering side of a node: what the HTTP controllers call, with bodies as they came. */
export class Exchange {
  readonly #closing = new AbortController();

  constructor(private readonly parts: ExchangeParts) {}

  /** @throws Problem `bad_request`, `other_protocol`, `other_node`, `cloned_node`, `other_room` */
  async hello(body: unknown): Promise<Hello> {
    const { self, neighbours, instances, membership } = this.parts;
    const theirs = parseBody(helloSchema, body, 'greeting');
    self.check(theirs);
    if (!self.is(theirs)) {
      instances.met(theirs);
      await membership.met(theirs);
      neighbours.met(theirs);
      neighbours.heard(theirs.node_id, {});
    }
    return self.hello(theirs.node_id, neighbours.get(theirs.node_id)?.told);
  }

  /**
   * Null when there was nothing within the `wait` that was asked for (204).
   * @throws Problem `bad_request`, `other_protocol`, `other_epoch`, and what the feed throws
   */
  async window(body: unknown, signal: AbortSignal): Promise<Served | null> {
    const { store, neighbours } = this.parts;
    const asked: WindowRequest = parseBody(windowRequestSchema, body, 'request for a window');
    if (asked.protocol !== protocolVersion) throw otherProtocol(asked.protocol);
    if (asked.node_id === store.identity.nodeId) throw otherNode(asked.node_id);
    const { epoch } = store.identity;
    if (asked.epoch !== null && asked.epoch !== epoch) {
      throw new Problem('other_epoch', 'Our feed has begun anew since that position. Start over.', { epoch });
    }
    const shared = store.tables();
    const tables = asked.tables.filter((table) => shared.includes(table));
    if (tables.length === 0) return null;
    const request: FeedRequest =
      asked.kind === 'window'
        ? { kind: 'window', tables, from: parseSnapshot(asked.from!)! }
        : { kind: 'copy', tables, at: asked.at, whole: asked.whole };
    const facts = {
      knowledge: fromWireKnowledge(asked.knowledge),
      seen: fromWireSeen(asked.seen),
      links: asked.links,
    };
    const before = neighbours.get(asked.node_id);
    const reader = await readerOf(store, { nodeId: asked.node_id, ...facts }, before?.epoch);
    const position = request.kind === 'window' ? standing(request, epoch, before?.position) : {};
    neighbours.heard(reader.nodeId, { ...facts, ...position });
    const gone = AbortSignal.any([signal, this.#closing.signal]);
    if (request.kind === 'copy') this.parts.load.copied(asked.node_id);
    if (request.kind === 'copy' && request.at === null) {
      await this.parts.copies.settled(asked.node_id, this.parts.copyDelay, gone);
    }
    const window = await this.#held(request, reader, asked, gone);
    return window && this.#served(window, reader);
  }

  /**
   * A pushed window.
   * @param receiver the value of `receiverHeader`: for whom the window was made
   * @throws Problem `gap` with the position to go on from, `other_epoch`, `other_node`, `cloned_node`, and what the inbox throws
   */
  async receive(frames: AsyncIterable<Frame>, receiver?: string): Promise<PushAnswer> {
    const { store, neighbours, instances, journal, clock } = this.parts;
    const { nodeId, epoch } = store.identity;
    if (receiver !== undefined && receiver !== `${nodeId}/${epoch}`) {
      throw new Problem('other_epoch', 'The window was made for another incarnation of this node. Greet it again.', {
        epoch,
      });
    }
    const started = clock();
    const incoming = new Incoming(frames, store.identity, ({ node }) => instances.assertOne(node));
    const end = this.parts.load.begin();
    try {
      const applied = await store.inbox.apply(incoming, this.parts.inTouch);
      await journal.received(applied, 'received', started);
      neighbours.heard(applied.head.node, incoming.facts);
      const [known, had] = await Promise.all([store.inbox.knowledge(), store.inbox.seen()]);
      const [knowledge, seen] = [toWireKnowledge(known), toWireSeen(had)];
      const position = toWirePosition(applied.position);
      if (applied.outcome === 'gap' || position === null) {
        throw new Problem('gap', 'The window does not connect to where we stand. Go on from "position".', {
          position,
          knowledge,
          seen,
        });
      }
      this.parts.moved(applied.head.node, applied.position);
      const { changed, conflicts, repeated } = applied;
      return { outcome: 'applied', position, knowledge, seen, changed, conflicts, repeated: [...repeated] };
    } catch (error) {
      if (error instanceof Problem && error.code !== 'gap' && error.code !== 'behind' && incoming.head) {
        await journal.failed(incoming.head.node, 'received', error.code, error.message);
      }
      throw error;
    } finally {
      end();
    }
  }

  /** Someone tells that it has news, and how far it has come. */
  async hint(body: unknown): Promise<HintAnswer> {
    const { store, neighbours, membership } = this.parts;
    const hint = parseBody(hintSchema, body, 'hint');
    const facts = { knowledge: fromWireKnowledge(hint.knowledge), seen: fromWireSeen(hint.seen) };
    neighbours.heard(hint.node_id, facts, hint.pull);
    const [knowledge, seen] = await Promise.all([store.inbox.knowledge(), store.inbox.seen()]);
    const position = toWirePosition(await store.inbox.position(hint.node_id));
    const gossip = hint.gossip && (await membership.answer(hint.gossip));
    return { knowledge: toWireKnowledge(knowledge), seen: toWireSeen(seen), position, ...(gossip && { gossip }) };
  }

  /** Lets go of the requests that are held open. */
  close(): void {
    this.#closing.abort();
  }

  /** Waits until there is something for the reader. */
  async #held(
    request: FeedRequest,
    reader: Reader,
    { limit, wait }: WindowRequest,
    signal: AbortSignal,
  ): Promise<OutgoingWindow | null> {
    const { store, clock } = this.parts;
    const news = new Wakeup();
    const end = store.feed.onNews(() => news.wake());
    const deadline = clock() + wait * 1000;
    try {
      for (;;) {
        const window = await openFor(store, reader, request, limit);
        if (window.rows > 0 || request.kind === 'copy') return window;
        const left = deadline - clock();
        if (left <= 0 || signal.aborted) return await this.#orNothing(window, wait === 0 ? reader : null);
        await window.close();
        await news.wait(left, signal);
      }
    } finally {
      end();
    }
  }

  /**
   * A window without rows still moves its reader on, past what it has by other ways, and what it knows of us with it. Who has copied from us
   * learns by it of the feeds that it need not copy. Who waits is not answered for that: some of it may never be learned.
   */
  async #orNothing(window: OutgoingWindow, asks: Reader | null): Promise<OutgoingWindow | null> {
    const { head } = window;
    const isNews = (node: string) =>
      node !== head.node && node !== asks?.nodeId && !Object.hasOwn(asks!.knowledge, node);
    if (head.from !== head.to || (asks && Object.keys(head.knowledge).some(isNews))) return window;
    await window.close();
    return null;
  }

  #served(window: OutgoingWindow, reader: Reader): Served {
    const { store, neighbours, journal, load } = this.parts;
    const outgoing = new Outgoing(window.frames());
    const body = async function* (): AsyncGenerator<Buffer> {
      const end = load.begin();
      try {
        yield* encodeBody(outgoing);
        journal.served(reader.nodeId, window.head, outgoing);
        // The reader will stand behind this window unless it fails to apply it, and then it answers our next push with
        // where it stands. Without the presumption that push would repeat what was just fetched.
        const before = neighbours.get(reader.nodeId)?.position ?? null;
        const position = advance(before, store.identity.epoch, stepOf(window.head));
        if (position) neighbours.heard(reader.nodeId, { position });
      } finally {
        end();
        await window.close();
      }
    };
    return { head: window.head, rows: window.rows, body: body(), close: () => window.close() };
  }
}
