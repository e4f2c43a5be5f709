import { clashOf, formatCursor, type Position } from '@pgmesh/core';
import { type Gossip, type Hello, Problem, toWireKnowledge, toWireSeen } from '@pgmesh/wire';
import { jittered, retryDelay } from './backoff';
import { PeerComparison, summaryOf } from './compare/peer-comparison';
import type { CompareOptions, ComparedPeer } from './compare/result';
import { Disagreements } from './disagreements';
import { type Failure, failureOf } from './failure';
import type { LinkContext, Session } from './link-context';
import { PausedTables } from './paused-tables';
import type { KnownPeer } from './peers';
import { PullLoop } from './pull';
import { PushLoop } from './push';
import { addRounds, type RoundResult } from './round';
import type { LastCompared, LinkState, LinkStatus } from './status';
import { Wakeup } from './wakeup';

/** Our side of the connection to one peer: greets it, then pulls and pushes until something fails, and begins anew. */
export class Link {
  readonly #stopping = new AbortController();
  readonly #retry = new Wakeup();
  readonly #greeting = new Wakeup();
  readonly #tables: PausedTables;
  readonly #disagreements: Disagreements;
  readonly #pull: PullLoop;
  readonly #push: PushLoop;
  #running: Promise<void> | null = null;
  #state: LinkState = 'connecting';
  #failures = 0;
  #silentSince: number | null = null;
  #nodeId: string | null;
  #url: string;
  #position: Position | null = null;
  #lastSync: number | null = null;
  #lastError: LinkStatus['last_error'] = null;
  #lastCompared: LastCompared | null = null;

  constructor(
    private readonly context: LinkContext,
    private peer: KnownPeer,
  ) {
    this.#nodeId = peer.nodeId;
    this.#url = peer.url;
    this.#tables = new PausedTables(
      context,
      () => this.#greeting.wake(),
      () => {
        this.#pull.wake();
        this.#push.wake();
      },
    );
    this.#disagreements = new Disagreements(context);
    this.#pull = new PullLoop(context, this.#tables, (position) => this.#worked(position));
    this.#push = new PushLoop(context, this.#tables, () => this.#worked(this.#position));
  }

  get nodeId(): string | null {
    return this.#nodeId;
  }

  get url(): string {
    return this.#url;
  }

  get isLive(): boolean {
    return this.#state === 'live';
  }

  get isCopying(): boolean {
    return this.isLive && this.#position?.copy != null;
  }

  /** The peer as it was last listed. */
  get known(): KnownPeer {
    return this.peer;
  }

  /** Whether this is the link to that peer. */
  leadsTo({ urls, nodeId }: KnownPeer): boolean {
    return urls.includes(this.#url) || (nodeId !== null && nodeId === this.#nodeId);
  }

  /** More was learned of the peer: other addresses of it, or its id. */
  follow(peer: KnownPeer): void {
    this.peer = peer;
    this.#nodeId = peer.nodeId ?? this.#nodeId;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#state = 'left';
    this.#stopping.abort();
    await this.#running;
  }

  /** We have news for it. */
  news(): void {
    this.#push.wake();
  }

  /** It has news for us. */
  asked(): void {
    this.#pull.wake();
  }

  /** It told of itself. */
  told(): void {
    this.#push.wake();
    this.#disagreements.compare(this.#nodeId);
    this.#compareTables();
  }

  /** We decide otherwise from now on: it is told soon. */
  rulesChanged(): void {
    this.#disagreements.compare(this.#nodeId);
    this.#greeting.wake();
  }

  /** We have other links than we told it of. */
  linksChanged(): void {
    if (this.isLive) this.#greeting.wake();
  }

  /** A table of ours is another from now on: it is told soon. */
  formsChanged(): void {
    this.#disagreements.compare(this.#nodeId);
    this.#compareTables();
    this.#greeting.wake();
  }

  /** Its push brought us further in its feed. */
  moved(position: Position): void {
    this.#position = position;
    this.#lastSync = this.context.clock();
  }

  /** It reached us: then we may reach it, too, and it need not hold a request of ours. */
  dialled(): void {
    this.#pull.release();
    if (!this.isLive) this.#retry.wake();
  }

  /** One round of each kind, begun from now on. Rejects with what the next try fails with. */
  async syncNow(): Promise<RoundResult> {
    const rounds = Promise.all([this.#pull.now(), this.#push.now()]);
    this.#retry.wake();
    if (this.#stopping.signal.aborted) this.#failWaiting(new Problem('not_found', `The peer ${this.#name} has left.`));
    return addRounds(...(await rounds));
  }

  /** Compares our rows with the peer's, and repairs what differs where that is asked for. */
  async compare(
    tables: readonly string[] | undefined,
    options: CompareOptions,
    signal: AbortSignal,
  ): Promise<ComparedPeer> {
    const epoch = this.#nodeId === null ? undefined : this.context.neighbours.get(this.#nodeId)?.epoch;
    if (!this.isLive || this.#nodeId === null || epoch === undefined) {
      const detail = `The link to ${this.#name} is not live (${this.#state}): GET /p2p/peers says why.`;
      return { peer: this.#name, tables: [], error: { code: 'unavailable', detail } };
    }
    const peer = { nodeId: this.#nodeId, url: this.#url, epoch };
    const nudge = (): void => {
      this.#pull.wake();
      this.#push.wake();
    };
    const comparison = new PeerComparison(this.context, peer, this.#tables.list(), nudge, options);
    const compared = await comparison.run(tables, AbortSignal.any([signal, this.#stopping.signal]));
    if (tables === undefined && compared.error === null) this.#lastCompared = summaryOf(compared, this.context.clock());
    return compared;
  }

  status(): Omit<LinkStatus, 'reason'> {
    const { clock, journal } = this.context;
    const pending = this.#push.pendingSince;
    const copy = this.#position?.copy;
    const slot = this.#nodeId === null ? null : (this.context.neighbours.get(this.#nodeId)?.slot ?? null);
    return {
      node_id: this.#nodeId,
      url: this.#url,
      state: this.#state,
      last_sync: this.#lastSync === null ? null : new Date(this.#lastSync).toISOString(),
      last_error: this.#lastError,
      position: this.#position && formatCursor(this.#position),
      copying: copy ? { ...copy.next, ...journal.copies.of(this.#nodeId, copy) } : null,
      lag_ms: pending === null ? 0 : Math.max(0, clock() - pending),
      failures: this.#failures,
      rules_differ: this.#disagreements.rules,
      constraints_differ: this.#disagreements.constraints,
      sequences: slot && { ...slot, clash: clashOf(this.context.store.slot, slot) },
      compared: this.#lastCompared,
      paused_tables: this.#tables.list(),
    };
  }

  get #name(): string {
    return this.#nodeId ?? this.#url;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      this.#retry.clear();
      try {
        if (!(await this.#session(signal))) break;
      } catch (error) {
        if (signal.aborted) break;
        await this.#retry.wait(await this.#failed(error), signal);
      }
    }
    this.#failWaiting(new Problem('unavailable', `The link to ${this.#name} has ended.`));
  }

  /** False when the address leads to ourselves. */
  async #session(stopping: AbortSignal): Promise<boolean> {
    const { context } = this;
    const over = new AbortController();
    const signal = AbortSignal.any([stopping, over.signal]);
    const session = await this.#greet(signal);
    if (session === null) return false;
    this.#position = await context.store.inbox.position(session.nodeId);
    this.#state = 'live';
    const tables = context.neighbours.get(session.nodeId)?.tables ?? [];
    context.events.emit({ type: 'peer_connected', peer: session.nodeId, url: session.url, tables });
    context.changed(this);
    // The first of them to fail ends the others; none of them is left behind.
    const loops = [this.#pull.run(session), this.#push.run(session), this.#greetings(session)].map((loop) =>
      loop.catch((error: unknown) => {
        if (!signal.aborted) over.abort(error);
      }),
    );
    await Promise.all(loops);
    if (!stopping.aborted) throw over.signal.reason;
    return true;
  }

  async #greet(signal: AbortSignal): Promise<Session | null> {
    const { client, self, neighbours, instances, membership, peers } = this.context;
    const url = this.peer.urls[this.#failures % Math.max(this.peer.urls.length, 1)] ?? this.peer.url;
    this.#url = url;
    const known = this.#nodeId === null ? undefined : neighbours.get(this.#nodeId);
    const ours = await self.hello(this.#nodeId, known?.told);
    const hello = await client.hello(url, ours, signal);
    if (self.is(hello)) {
      this.#state = 'self';
      peers.learn(url, hello.node_id);
      return null;
    }
    self.check(hello);
    this.#nodeId = hello.node_id;
    instances.met(hello);
    await membership.met(hello);
    neighbours.met(hello);
    const told = await self.hello(hello.node_id, neighbours.get(hello.node_id)?.told);
    if (tellsMore(told, ours)) await client.hello(url, told, signal);
    this.#disagreements.compare(this.#nodeId);
    this.#compareTables(true);
    peers.learn(url, hello.node_id);
    if (hello.members !== null && hello.members !== (await membership.digest())) await this.#gossip(url, signal);
    return { url, nodeId: hello.node_id, epoch: hello.epoch, instance: hello.instance, signal };
  }

  /** We know of other members than it does, or other things of them: each tells what the other lacks. */
  async #gossip(url: string, signal: AbortSignal): Promise<void> {
    const { client, membership, store } = this.context;
    const hint = async (gossip: Gossip): Promise<Gossip> => {
      const { nodeId: node_id, epoch } = store.identity;
      const [knowledge, seen] = await Promise.all([store.inbox.knowledge(), store.inbox.seen()]);
      const told = { node_id, epoch, knowledge: toWireKnowledge(knowledge), seen: toWireSeen(seen) };
      const answer = await client.hint(url, { ...told, pull: false, gossip }, signal);
      return answer.gossip ?? { members: [] };
    };
    const lacked = await membership.answered(await hint(await membership.question()));
    if (lacked) await hint(lacked);
  }

  /** A table that would lose values is left out; one that no longer would comes back at once. */
  #compareTables(greeted = false): void {
    if (this.#nodeId === null || !this.#tables.compare(this.#nodeId, greeted)) return;
    this.#pull.wake();
    this.#push.wake();
  }

  /** Greets again now and then: tables come and go, and a peer may have begun anew. */
  async #greetings({ nodeId, epoch, signal }: Session): Promise<void> {
    const { times, random, store } = this.context;
    for (;;) {
      await this.#greeting.wait(jittered(times.interval, random), signal);
      if (signal.aborted) return;
      // Somebody may have run what it takes.
      if (this.#tables.list().length + this.#disagreements.constraints.length > 0) await store.refreshForms();
      const again = await this.#greet(signal);
      if (again?.nodeId !== nodeId || again.epoch !== epoch) {
        throw new Problem('other_epoch', `Another node or another incarnation answers at ${this.#url}.`);
      }
      this.#push.wake();
    }
  }

  #worked(position: Position | null): void {
    this.#position = position;
    this.#failures = 0;
    this.#silentSince = null;
    this.#lastError = null;
    this.#lastSync = this.context.clock();
  }

  /** How long to wait before the next try. */
  async #failed(error: unknown): Promise<number> {
    const { times, random, journal } = this.context;
    const failure = failureOf(error);
    this.#failures += 1;
    this.#failWaiting(error);
    const isNew = failure.code !== this.#lastError?.code || failure.detail !== this.#lastError.detail;
    this.#lastError = { code: failure.code, detail: failure.detail, at: new Date(this.context.clock()).toISOString() };
    // A peer that stays away would fill the history with the same line.
    if (isNew) await journal.failed(this.#name, 'pull', failure.code, failure.detail);
    this.#judge(failure);
    if (failure.remedy === 'pause') return jittered(times.interval, random);
    return retryDelay(this.#failures, { first: times.firstRetry, longest: times.interval }, random);
  }

  #judge({ remedy, detail }: Failure): void {
    const { clock, retries, events, peers, times, changed } = this.context;
    if (remedy === 'pause') {
      const isNew = this.#state !== 'paused';
      this.#state = 'paused';
      if (isNew) changed(this);
      return;
    }
    this.#silentSince ??= clock();
    if (this.#failures <= retries) this.#state = 'retrying';
    else if (this.#state !== 'unreachable') {
      this.#state = 'unreachable';
      events.emit({ type: 'peer_unreachable', peer: this.#name, url: this.#url, detail });
      changed(this);
    }
    if (clock() - this.#silentSince > times.silence) peers.silent(this.#url);
  }

  #failWaiting(error: unknown): void {
    this.#pull.fail(error);
    this.#push.fail(error);
  }
}

/** Whether a greeting has more of our tables than the one before it, sent when we knew less of the other's. */
function tellsMore(told: Hello, before: Hello): boolean {
  return (['forms', 'constraints'] as const).some((side) =>
    Object.keys(told[side]).some((table) => !before[side][table]),
  );
}
