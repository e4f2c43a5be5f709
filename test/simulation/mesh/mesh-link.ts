import { type Position, type Seen, type Snapshot, shows, withoutTransactions } from '@pgmesh/core';
import { jittered, retryDelay } from '../../../libs/sync/src/backoff';
import { expected } from '../../../libs/sync/src/offer';
import { type Entry, MeshSimulationNode } from './mesh-node';
import type { World } from './world';

export interface Push {
  readonly rows: readonly Entry[];
  readonly start: Snapshot;
  readonly end: Snapshot;
  /** Whether rows are held back. */
  readonly partial: boolean;
  readonly seen: Seen;
}

export interface PushResult {
  readonly position: Position;
  readonly seen: Seen;
  readonly repeated: readonly string[];
}

/** One node's link to another, as libs/sync's Link and PushLoop go about it: greet, push what is news, hold back what others bring. */
export class MeshLink {
  isLive = false;
  #ended = false;
  #busy = false;
  #pending = false;
  #failures = 0;
  #position: Position | null = null;
  #seen: Seen = {};
  #theirs: readonly string[] = [];
  #hold: { until: number; below: bigint } | null = null;
  /** What of the feed the reader lacks, as far as is known, and from where on it was not looked at yet. */
  #open: Entry[] = [];
  #next = 0;
  readonly #elsewhere = new Set<string>();

  constructor(
    private readonly from: MeshSimulationNode,
    readonly to: string,
    private readonly world: World,
  ) {}

  end(): void {
    this.#ended = true;
  }

  wake(): void {
    this.#pending = true;
    this.#look();
  }

  /** The other end told what it has. */
  told(seen: Seen): void {
    this.#seen = seen;
  }

  /** Greets, and again at every interval. */
  greet(): void {
    this.#exchange(
      'greeting',
      (peer) => ({ position: this.from.positionOf(peer), seen: peer.seen, links: peer.live }),
      ({ position, seen, links }) => {
        [this.#position, this.#seen, this.#theirs] = [position, seen, links];
        [this.#open, this.#next] = [[], 0];
        this.isLive = true;
        this.from.heard(this.to);
        this.world.time.after(jittered(this.world.interval, this.world.random), () => {
          if (this.#ended) return;
          if (this.#busy) this.#pending = true;
          else this.greet();
        });
        this.wake();
      },
    );
  }

  #look(): void {
    if (this.#ended || this.#busy || !this.isLive || !this.#pending) return;
    this.#pending = false;
    const { time } = this.world;
    const isDue = this.#hold !== null && time.now >= this.#hold.until;
    const below = isDue ? this.#hold!.below : 0n;
    const { urgent, held, overdue } = this.#lacking(below);
    if (isDue && overdue.length > 0) return this.#ask(below);
    this.#offer(urgent, held, isDue);
  }

  /** What was waited for may have come by now. */
  #ask(below: bigint): void {
    const ours = this.from.seen;
    this.#exchange(
      'question',
      (peer) => {
        peer.links.get(this.from.id)?.told(ours);
        return peer.seen;
      },
      (seen) => {
        this.#seen = seen;
        const { urgent, held, overdue } = this.#lacking(below);
        for (const { origin } of overdue) this.#elsewhere.delete(origin);
        this.#offer([...urgent, ...overdue], held, true);
      },
    );
  }

  #offer(rows: readonly Entry[], held: readonly Entry[], isDue: boolean): void {
    const { time, hold, random } = this.world;
    if (held.length === 0) this.#hold = null;
    else if (this.#hold === null || isDue) {
      this.#hold = { until: time.now + jittered(hold, random), below: this.from.present.xmax };
    }
    if (rows.length > 0) return this.#push(rows, held);
    if (this.#hold) {
      time.after(this.#hold.until - time.now, () => this.wake());
    }
  }

  #push(rows: readonly Entry[], held: readonly Entry[]): void {
    const later = new Set(held.map(({ origin }) => origin));
    const { seen: known, origin: self, present } = this.from;
    // As in the feed: what the sender wrote itself is never held back. Of those that never write there is nothing to tell.
    const all = this.world.writes(this.from.id) ? { ...known, [self]: present } : known;
    const seen = Object.fromEntries(Object.entries(all).filter(([origin]) => !later.has(origin)));
    const end = withoutTransactions(
      present,
      held.map(({ xid }) => xid),
    );
    const push = { rows, start: this.#position!.snapshot, end, partial: held.length > 0, seen };
    this.world.sent(rows.length);
    this.#exchange(
      'push',
      (peer) => peer.receive(this.from.id, push),
      (result) => {
        if (result === null) {
          this.isLive = false;
          return this.greet();
        }
        [this.#position, this.#seen] = [result.position, result.seen];
        for (const origin of result.repeated) if (origin !== this.from.origin) this.#elsewhere.add(origin);
        this.wake();
      },
    );
  }

  /** What the reader lacks, as far as is known: to be sent at once, to be held back, or held back for long enough. */
  #lacking(below: bigint): { urgent: Entry[]; held: Entry[]; overdue: Entry[] } {
    const nodes = this.#theirs;
    const reader = { nodeId: this.to, knowledge: {}, seen: this.#seen, links: nodes, own: null };
    const later = expected(reader, this.from.id, this.#elsewhere, below);
    const found = { urgent: [] as Entry[], held: [] as Entry[], overdue: [] as Entry[] };
    const { feed } = this.from;
    this.#open.push(...feed.slice(this.#next));
    this.#next = feed.length;
    this.#open = this.#open.filter((entry) => !this.#isThere(entry));
    for (const entry of this.#open) {
      const isLater =
        later !== null &&
        entry.via !== null &&
        (later.nodes.includes(entry.via) ||
          later.nodes.some((node) => entry.origin.startsWith(`${node}~`)) ||
          later.origins.includes(entry.origin));
      if (!isLater) found.urgent.push(entry);
      else if (entry.xid < below) found.overdue.push(entry);
      else found.held.push(entry);
    }
    return found;
  }

  #isThere(entry: Entry): boolean {
    if (entry.via === this.to || entry.origin.startsWith(`${this.to}~`)) return true;
    return shows(this.#position!.snapshot, entry.xid) || MeshSimulationNode.has(this.#seen, entry);
  }

  /** There and back; lost on either way, it is tried again after the time-out, with growing pauses. */
  #exchange<T>(
    what: 'greeting' | 'question' | 'push',
    answer: (peer: MeshSimulationNode) => T,
    then: (answer: T) => void,
  ): void {
    if (this.#ended || this.#busy) return;
    this.#busy = true;
    this.world.message(what, this.from.id, this.to, answer, (outcome) => {
      this.#busy = false;
      if (this.#ended || !this.from.up) return;
      if ('answer' in outcome) {
        this.#failures = 0;
        then(outcome.answer);
        return this.#look();
      }
      this.#failures += 1;
      this.isLive = false;
      if (this.#failures === this.world.retries + 1) this.from.lost(this.to);
      const patience = { first: 200, longest: this.world.interval };
      this.world.time.after(retryDelay(this.#failures, patience, this.world.random), () => this.greet());
    });
  }
}
