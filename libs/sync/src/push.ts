import { copiedAnew, feedName, type FeedRequest, nextRequest } from '@pgmesh/core';
import {
  fromWireKnowledge,
  fromWirePosition,
  fromWireSeen,
  gapSchema,
  type HintAnswer,
  parseBody,
  Problem,
  toWireKnowledge,
  toWireSeen,
} from '@pgmesh/wire';
import { jittered } from './backoff';
import type { LinkContext, Session } from './link-context';
import { tablesOf } from './failure';
import { dialsUs } from './neighbours';
import { countRows, expected, openFor, pushRequest, type Reader, readerOf } from './offer';
import { Outgoing } from './outgoing';
import type { OutgoingWindow } from './ports';
import type { PausedTables } from './paused-tables';
import { addRounds, emptyRound, type RoundResult, Waiters } from './round';
import { Wakeup } from './wakeup';

/** After so many rows that a reader has by other ways, its position is moved past them, lest each look reads them again. */
const worthPassing = 500;
/** Gaps in a row, without any window between that was taken, after which something is wrong. */
const mostGaps = 5;

/** How a look at the feed ended: `sent`, look again at once; `idle`, until there is news; or held back for so many ms. */
type Outcome = { readonly sent: RoundResult } | 'idle' | { readonly held: number };

/** Rows that are held back, because others should be bringing them to the receiver. */
interface Hold {
  /** In ms since 1970. */
  readonly until: number;
  /** It is for what came here in transactions below this one; what came since is held back anew then. */
  readonly below: bigint;
}

/** Brings our news to one peer: push is the speed (invariant 10). One window at a time; what comes meanwhile goes with the next. */
export class PushLoop {
  readonly #news = new Wakeup();
  readonly #waiters = new Waiters();
  #hold: Hold | null = null;
  /**
   * The origins whose rows the peer has sooner another way: of several paths to it the fastest stays, and the others bring only what
   * is still missing after a while. Source: Leitão, Pereira, Rodrigues, "Epidemic Broadcast Trees" (SRDS 2007).
   */
  readonly #elsewhere = new Set<string>();
  #last: FeedRequest['kind'] | null = null;
  #gaps = 0;
  #begun = 0;
  /** Since when, in ms since 1970, there may be something that the peer was not brought; null when it has everything. */
  #pendingSince: number | null = null;

  constructor(
    private readonly context: LinkContext,
    private readonly tables: PausedTables,
    private readonly progressed: () => void,
  ) {}

  get pendingSince(): number | null {
    return this.#pendingSince;
  }

  wake(): void {
    this.#pendingSince ??= this.context.clock();
    this.#news.wake();
  }

  now(): Promise<RoundResult> {
    const round = this.#waiters.next();
    this.#news.wake();
    return round;
  }

  fail(error: unknown): void {
    this.#waiters.fail(error);
  }

  async run(session: Session): Promise<void> {
    const { clock } = this.context;
    this.#hold = null;
    this.#elsewhere.clear();
    this.#gaps = 0;
    this.#begun = clock();
    while (!session.signal.aborted) {
      this.#news.clear();
      let rest: number | null = null;
      const begun = clock();
      await this.#waiters.during(async () => {
        let result = emptyRound;
        let outcome: Outcome;
        while (typeof (outcome = await this.#look(session)) === 'object' && 'sent' in outcome) {
          result = addRounds(result, outcome.sent);
        }
        if (outcome === 'idle') this.#pendingSince = null;
        else rest = outcome.held;
        return result;
      });
      // A look that found nothing may have read much that others bring: its cost is kept below half of the time.
      const spent = clock() - begun;
      if (rest !== null && spent > 1) await new Wakeup().wait(Math.min(spent, this.context.times.hold), session.signal);
      await this.#news.wait(rest, session.signal);
    }
  }

  async #look(session: Session): Promise<Outcome> {
    const { neighbours, store, times, clock } = this.context;
    const neighbour = neighbours.get(session.nodeId);
    if (!neighbour || session.signal.aborted) return 'idle';
    const shared = this.tables.flowing(session.nodeId, 'push');
    const wantsCopy = nextRequest(neighbour.position, store.identity.epoch, shared, 'window')?.kind === 'copy';
    const copiesItself = dialsUs(neighbour, store.identity.nodeId, clock(), times.interval);
    const patience = this.#begun + times.grace - clock();
    const mayCopy = wantsCopy && !copiesItself && patience <= 0;
    const request = pushRequest(
      neighbour.position,
      store.identity.epoch,
      shared,
      this.#last,
      mayCopy,
      store.references(),
    );
    if (request === null) return wantsCopy && !copiesItself ? { held: patience } : 'idle';

    const reader = await readerOf(store, neighbour, neighbour.epoch);
    let outcome: Outcome;
    try {
      outcome =
        request.kind === 'window'
          ? await this.#offer(session, reader, request, mayCopy && neighbour.position?.copy === null)
          : await this.#send(session, reader, request);
    } catch (error) {
      if (!this.#mustCopy(session, error)) throw error;
      return { sent: emptyRound };
    }
    const sent = typeof outcome === 'object' && 'sent' in outcome;
    if (sent || !wantsCopy || copiesItself) return outcome;
    // The stream has come to its end, the copy has not.
    this.#last = 'window';
    return mayCopy ? { sent: emptyRound } : { held: patience };
  }

  /** What it has not come past is forgotten here: it copies anew, by itself or from what we push. */
  #mustCopy({ nodeId }: Session, error: unknown): boolean {
    const { neighbours } = this.context;
    const position = neighbours.get(nodeId)?.position;
    if (!(error instanceof Problem) || error.code !== 'gone' || !position) return false;
    const anew = copiedAnew(position, tablesOf(error));
    neighbours.update(nodeId, { position: anew });
    return anew !== position;
  }

  /** It has forgotten what we have not come past: we read first. */
  async #mustRead({ nodeId }: Session, error: unknown): Promise<boolean> {
    if (!(error instanceof Problem) || error.code !== 'behind') return false;
    const tables = tablesOf(error);
    this.tables.waitsFor(nodeId, 'push', tables);
    await this.context.store.inbox.copyAnew(nodeId, tables);
    return true;
  }

  /**
   * Sends what is ours to bring at once, and holds back what the receiver should be getting from others.
   * @param beforeCopy whether a copy of other tables is to begin after it
   */
  async #offer(session: Session, reader: Reader, request: FeedRequest, beforeCopy: boolean): Promise<Outcome> {
    const { clock } = this.context;
    const isDue = this.#hold !== null && clock() >= this.#hold.until;
    if (isDue) reader = await this.#asked(session, reader, request);
    const window = await this.#open(reader, request, isDue ? this.#hold!.below : 0n);
    if (!window.held) this.#hold = null;
    else if (this.#hold === null || isDue) this.#hold = { until: clock() + this.#patience(), below: window.end };
    for (const origin of window.overdue) this.#elsewhere.delete(origin);
    if (window.rows > 0) return this.#push(session, window, request);
    await window.close();
    if (this.#hold) return { held: Math.max(1, this.#hold.until - clock()) };
    return this.#settled(session, reader, request, beforeCopy);
  }

  /** What was waited for may have come by now: the receiver is asked, unless there is nothing left that it lacks. */
  async #asked(session: Session, reader: Reader, request: FeedRequest): Promise<Reader> {
    const { store, client, neighbours } = this.context;
    const window = await this.#open(reader, request, this.#hold!.below);
    await window.close();
    if (window.overdue.length === 0 && window.rows === 0) return reader;
    const [knowledge, seen] = await Promise.all([store.inbox.knowledge(), store.inbox.seen()]);
    const hint = {
      node_id: store.identity.nodeId,
      epoch: store.identity.epoch,
      knowledge: toWireKnowledge(knowledge),
      seen: toWireSeen(seen),
      pull: false,
    };
    const answer = await client.hint(session.url, hint, session.signal);
    this.#told(session, answer);
    const told = { ...reader, knowledge: fromWireKnowledge(answer.knowledge), seen: fromWireSeen(answer.seen) };
    return readerOf(store, told, neighbours.get(session.nodeId)?.epoch);
  }

  /** @param from what came here in transactions below it is not held back any more */
  #open(reader: Reader, request: FeedRequest, from: bigint): Promise<OutgoingWindow> {
    const { store, batch } = this.context;
    return openFor(store, reader, request, batch, expected(reader, store.identity.nodeId, this.#elsewhere, from));
  }

  /** Two that wait to bring the same rows are not to ask at the same time. */
  #patience(): number {
    const { times, random, pace } = this.context;
    return jittered(pace.patience(times.hold), random);
  }

  async #send(session: Session, reader: Reader, request: FeedRequest): Promise<Outcome> {
    const { store, batch } = this.context;
    return this.#push(session, await openFor(store, reader, request, batch), request);
  }

  /**
   * It has everything. When that is because others brought it, our feed is full of rows that it need not look at again. Of tables that are
   * followed it reads on from where it stands in all of them: one that it copies would be taken back to there, and deletions of it that
   * are forgotten since would have it copied over and over.
   */
  async #settled(session: Session, reader: Reader, request: FeedRequest, beforeCopy: boolean): Promise<Outcome> {
    const { store, batch } = this.context;
    if (!beforeCopy && (await countRows(store, request, reader, worthPassing)) < worthPassing) return 'idle';
    const window = await openFor(store, reader, request, batch);
    return this.#push(session, window, request);
  }

  async #push(session: Session, window: OutgoingWindow, { kind }: FeedRequest): Promise<Outcome> {
    const { client, journal, clock, store, pace } = this.context;
    const started = clock();
    const { nodeId, epoch } = session;
    const ours = feedName(store.identity.nodeId, store.identity.epoch);
    const outgoing = new Outgoing(window.frames());
    try {
      const answer = await client.push(session.url, { nodeId, epoch }, outgoing, session.signal);
      pace.took(clock() - started);
      this.#told(session, answer);
      await journal.sent(nodeId, window.head, outgoing, answer, started);
      // Another brought these sooner, and will bring the next ones sooner as well.
      for (const origin of answer.repeated) if (origin !== ours) this.#elsewhere.add(origin);
      this.#gaps = 0;
      this.#last = kind;
      this.tables.worked('push', window.head.tables);
      this.progressed();
      return { sent: { rows: outgoing.rows, changed: 0, conflicts: 0, tables: {} } };
    } catch (error) {
      if (this.tables.refused(nodeId, 'push', error) || (await this.#mustRead(session, error)))
        return { sent: emptyRound };
      if (!(error instanceof Problem) || error.code !== 'gap') throw error;
      this.#gaps += 1;
      if (this.#gaps > mostGaps) throw error;
      this.#told(session, parseBody(gapSchema, error.extra, 'answer to a window that does not connect'));
      return { sent: emptyRound };
    } finally {
      await window.close();
    }
  }

  #told(
    { nodeId }: Session,
    { knowledge, seen, position }: Partial<Pick<HintAnswer, 'knowledge' | 'seen' | 'position'>>,
  ): void {
    const { neighbours } = this.context;
    neighbours.update(nodeId, {
      ...(knowledge === undefined ? {} : { knowledge: fromWireKnowledge(knowledge) }),
      ...(seen === undefined ? {} : { seen: fromWireSeen(seen) }),
      ...(position === undefined ? {} : { position: fromWirePosition(position) }),
    });
  }
}
