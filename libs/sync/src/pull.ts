import { advance, type FeedRequest, formatSnapshot, nextRequest, type Position } from '@pgmesh/core';
import {
  Problem,
  protocolVersion,
  toWireKnowledge,
  toWirePosition,
  toWireSeen,
  type WindowFrame,
  type WindowRequest,
  stepOf,
} from '@pgmesh/wire';
import { jittered } from './backoff';
import { tablesOf } from './failure';
import { Incoming } from './incoming';
import type { LinkContext, Session } from './link-context';
import { dialsUs } from './neighbours';
import type { PausedTables } from './paused-tables';
import type { Applied } from './ports';
import { addRounds, emptyRound, type RoundResult, Waiters } from './round';
import type { Turn } from './turnstile';
import { Wakeup } from './wakeup';

/** A request that was to be held for a while but came back empty sooner than this was not held. */
const heldAtLeast = 1000;

/** Reads one peer's feed to its end, then waits for more: pull is the truth (invariant 10). */
export class PullLoop {
  readonly #news = new Wakeup();
  readonly #waiters = new Waiters();
  /** What lets go of the request that the peer holds for us. */
  #release: (() => void) | null = null;

  constructor(
    private readonly context: LinkContext,
    private readonly tables: PausedTables,
    /** Told after each exchange that worked, with the position that it led to. */
    private readonly progressed: (position: Position | null) => void,
  ) {}

  /** There is something to fetch, or the way in which we learn of it has changed. */
  wake(): void {
    this.#release?.();
    this.#news.wake();
  }

  /** The peer reaches us by itself now: it need not hold a request of ours. */
  release(): void {
    if (this.#release) this.wake();
  }

  /** A round that begins from now on. */
  now(): Promise<RoundResult> {
    const round = this.#waiters.next();
    this.wake();
    return round;
  }

  fail(error: unknown): void {
    this.#waiters.fail(error);
  }

  async run(session: Session): Promise<void> {
    const { times, clock, random } = this.context;
    let wait = 0;
    while (!session.signal.aborted) {
      const begun = clock();
      this.#news.clear();
      let rows = 0;
      await this.#waiters.during(async () => {
        const result = await this.#round(session, wait);
        rows = result.rows;
        return result;
      });
      const unheld = wait > 0 && rows === 0 && clock() - begun < Math.min(heldAtLeast, wait);
      wait = this.#isBroughtChanges(session) ? 0 : times.wait;
      const rest = wait === 0 ? jittered(times.interval, random) : unheld ? heldAtLeast : 0;
      if (await this.#news.wait(rest, session.signal)) wait = 0;
    }
  }

  /** Whether the peer tells us of its changes unasked; else we keep a request open with it. */
  #isBroughtChanges({ nodeId }: Session): boolean {
    const { neighbours, store, times, clock } = this.context;
    const neighbour = neighbours.get(nodeId);
    if (!neighbour || this.#shared(nodeId).length === 0) return true;
    return dialsUs(neighbour, store.identity.nodeId, clock(), times.interval);
  }

  #shared(nodeId: string): string[] {
    return this.tables.flowing(nodeId, 'pull');
  }

  async #round(session: Session, wait: number): Promise<RoundResult> {
    const { copies, times, neighbours, peers } = this.context;
    if (!(await this.#wantsCopy(session))) return this.#read(session, wait);
    const load = neighbours.get(session.nodeId)?.load ?? 0;
    const gather = peers.list().length > 1 ? times.gather : 0;
    const turn = await copies.pass(session.nodeId, { load, ms: times.interval, gather }, session.signal);
    try {
      return await this.#read(session, 0, turn);
    } finally {
      turn.leave();
    }
  }

  async #wantsCopy({ nodeId, epoch }: Session): Promise<boolean> {
    const position = await this.context.store.inbox.position(nodeId);
    return nextRequest(position, epoch, this.#shared(nodeId), 'window')?.kind === 'copy';
  }

  /** To the end of what there is. */
  async #read(session: Session, wait: number, turn?: Turn): Promise<RoundResult> {
    const { store } = this.context;
    let result = emptyRound;
    let last: FeedRequest['kind'] | null = null;
    let held = wait;
    let position = await store.inbox.position(session.nodeId);
    let ahead: Fetch | null = null;
    while (!session.signal.aborted) {
      const shared = this.#shared(session.nodeId);
      const request = nextRequest(position, session.epoch, shared, last, store.references());
      if (request === null) break;
      // While a copy is under way nothing is held: there is always more to ask for.
      const copying = nextRequest(position, session.epoch, shared, 'window')?.kind === 'copy';
      const fetch: Fetch = ahead?.asks(request) ? ahead : this.#fetch(session, request, copying ? 0 : held);
      ahead = request.kind === 'copy' ? await this.#fetchAhead(session, fetch, position) : null;
      const applied = await this.#outcome(session, fetch);
      held = 0;
      if (applied === 'refused') {
        // What was fetched ahead is still being merged.
        await ahead?.applied.catch(() => undefined);
        ahead = null;
        position = await store.inbox.position(session.nodeId);
        continue;
      }
      const stuck = applied !== null && request.kind === 'copy' && samePosition(position, applied.position);
      if (applied) position = applied.position;
      if (applied?.outcome === 'applied') {
        if (request.kind === 'window') this.tables.worked('pull', applied.head.tables);
        result = addRounds(result, applied);
        if (applied.rows > 0 && applied.position.copy) turn?.bringsRows();
      }
      this.progressed(position);
      if (stuck) break;
      if (!copying && (applied === null || (applied.outcome === 'applied' && !applied.head.more))) break;
      last = request.kind;
    }
    return result;
  }

  /** `refused`: a table of the window does not fit, and is left out from now on. */
  async #outcome({ nodeId }: Session, fetch: Fetch): Promise<Applied | 'refused' | null> {
    try {
      return await fetch.applied;
    } catch (error) {
      if (this.tables.refused(nodeId, 'pull', error) || (await this.#mustCopy(nodeId, error))) return 'refused';
      if (this.#mustWait(nodeId, error)) return 'refused';
      throw error;
    }
  }

  /** What we have not come past is forgotten there: it is copied anew. */
  async #mustCopy(nodeId: string, error: unknown): Promise<boolean> {
    if (!(error instanceof Problem) || error.code !== 'gone') return false;
    return this.context.store.inbox.copyAnew(nodeId, tablesOf(error));
  }

  /** What it has not come past is forgotten here: it has to read from us first. */
  #mustWait(nodeId: string, error: unknown): boolean {
    if (!(error instanceof Problem) || error.code !== 'behind') return false;
    this.tables.waitsFor(nodeId, 'pull', tablesOf(error));
    return true;
  }

  #fetch(session: Session, request: FeedRequest, wait: number): Fetch {
    return new Fetch(request, async (arrived) => {
      const { store, journal, neighbours, clock, inTouch } = this.context;
      const started = clock();
      const frames = await this.#ask(session, request, wait);
      if (frames === null) return null;
      const incoming = new Incoming(frames, store.identity, () => this.#assertSame(session));
      void incoming.arrived.then(arrived);
      const applied = await store.inbox.apply(incoming, inTouch);
      neighbours.update(session.nodeId, incoming.facts);
      await journal.received(applied, 'pull', started);
      return applied;
    });
  }

  /**
   * Asks for the next piece of a copy while this one is being merged. Should the merge fail, the piece that was fetched ahead does
   * not connect and is refused by the store.
   */
  async #fetchAhead(session: Session, fetch: Fetch, position: Position | null): Promise<Fetch | null> {
    const head = await fetch.arrived;
    const beyond = head && advance(position, session.epoch, stepOf(head));
    const { store } = this.context;
    const shared = this.#shared(session.nodeId);
    const next = beyond && nextRequest(beyond, session.epoch, shared, 'copy', store.references());
    return next?.kind === 'copy' && !session.signal.aborted ? this.#fetch(session, next, 0) : null;
  }

  /** Whose position we asked from is who must answer: if another process has been heard of, both are greeted first. */
  #assertSame({ nodeId, instance, url }: Session): void {
    const { instances } = this.context;
    instances.assertOne(nodeId);
    if (!instances.isLatest(nodeId, instance)) {
      throw new Problem('other_epoch', `${nodeId} was started again, or runs twice. ${url} is greeted again.`);
    }
  }

  async #ask(session: Session, request: FeedRequest, wait: number): ReturnType<LinkContext['client']['window']> {
    const { client } = this.context;
    const { url, signal } = session;
    if (wait === 0) return client.window(url, await this.#wireRequest(session, request, 0), signal);
    const release = new AbortController();
    this.#release = () => release.abort();
    try {
      const held = await this.#wireRequest(session, request, this.#news.pending ? 0 : wait);
      return await client.window(url, held, AbortSignal.any([signal, release.signal]));
    } catch (error) {
      if (release.signal.aborted && !signal.aborted) return null;
      throw error;
    } finally {
      this.#release = null;
    }
  }

  async #wireRequest({ epoch }: Session, request: FeedRequest, wait: number): Promise<WindowRequest> {
    const { store, batch, links } = this.context;
    return {
      protocol: protocolVersion,
      node_id: store.identity.nodeId,
      epoch,
      tables: request.tables,
      kind: request.kind,
      from: request.kind === 'window' ? formatSnapshot(request.from) : null,
      at: request.kind === 'copy' ? request.at : null,
      whole: request.kind === 'copy' ? [...(request.whole ?? [])] : [],
      limit: batch,
      wait: wait / 1000,
      knowledge: toWireKnowledge(await store.inbox.knowledge()),
      seen: toWireSeen(await store.inbox.seen()),
      links: links(),
    };
  }
}

function samePosition(a: Position | null, b: Position | null): boolean {
  return JSON.stringify(withoutReach(a)) === JSON.stringify(withoutReach(b));
}

/** What a repeated piece leaves as it was. */
function withoutReach(position: Position | null): unknown {
  return position && { ...toWirePosition(position), reached: null };
}

/** A request on its way: first the window arrives, then it is merged. */
class Fetch {
  /** The window's head when all of it has arrived; null when it did not. */
  readonly arrived: Promise<WindowFrame | null>;
  /** What became of it; null when the peer had nothing, or when its request was let go of. */
  readonly applied: Promise<Applied | null>;

  constructor(
    private readonly request: FeedRequest,
    run: (arrived: (head: WindowFrame | null) => void) => Promise<Applied | null>,
  ) {
    const { promise, resolve } = deferred<WindowFrame | null>();
    this.arrived = promise;
    this.applied = run(resolve);
    // Whoever fetched ahead may have no use for it any more; a failure is then the next fetch's to find.
    this.applied.catch(() => undefined).finally(() => resolve(null));
  }

  asks(request: FeedRequest): boolean {
    return (
      request.kind === 'copy' &&
      this.request.kind === 'copy' &&
      JSON.stringify(request) === JSON.stringify(this.request)
    );
  }
}

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((done) => (resolve = done));
  return { promise, resolve };
}
