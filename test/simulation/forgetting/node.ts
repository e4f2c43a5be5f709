import type { Claim, Guards, Knowledge, Member, Position, RowState, RowVersion, Snapshot, Step } from '@pgmesh/core';
import type { Core } from '../history';

export const table = 't';
const tables: readonly string[] = [table];

/** A row of the metadata, and, for the oracle alone, which writes had been seen by whoever made this state. */
export interface Kept {
  readonly state: RowState;
  readonly xid: bigint;
  readonly via: string | null;
}

interface Sent {
  readonly row: number;
  readonly state: RowState;
  /** For the oracle. */
  readonly ever: bigint;
}

export interface Message {
  readonly from: string;
  readonly to: number;
  /** Of the sender, and of the reader that it was made for. */
  readonly epoch: string;
  readonly readerEpoch: string;
  readonly step: Step;
  readonly complete: boolean;
  readonly knowledge: Knowledge;
  readonly guards: Guards;
  readonly rows: readonly Sent[];
}

/** What survives a crash. */
interface Durable {
  readonly rows: ReadonlyMap<number, Kept>;
  readonly positions: Readonly<Record<string, Position>>;
  readonly members: Readonly<Record<string, Member>>;
  readonly guards: Guards;
  /** The rows that a copy under way brought, by source; `matched`: only those that were here, for there were none when it began. */
  readonly noted: Readonly<Record<string, { readonly rows: ReadonlySet<number>; readonly matched: boolean }>>;
  readonly forgotten: number;
  readonly nextXid: bigint;
  /** For the oracle: all writes that reached the node, by row. */
  readonly ever: ReadonlyMap<number, bigint>;
}

/** What may be left out, to see that it is missed. */
export interface Omissions {
  readonly mayRead?: boolean;
  readonly mayWrite?: boolean;
  readonly seen?: boolean;
  readonly absorb?: boolean;
  readonly takeOver?: boolean;
  readonly deleteAtEnd?: boolean;
  readonly floor?: boolean;
  readonly claims?: boolean;
  readonly made?: boolean;
}

/** A node that forgets: one local transaction at a time, windows and pieces merged in transactions of their own. */
export class ForgettingNode {
  #durable: Durable = {
    rows: new Map(),
    positions: {},
    members: {},
    guards: [],
    noted: {},
    forgotten: 0,
    nextXid: 1n,
    ever: new Map(),
  };
  #open: { readonly xid: bigint; readonly rows: Map<number, RowState> } | null = null;
  #backup: Durable | null = null;
  #incarnation = 0;
  /** Of claims: one that is never set back. */
  #claims = 0;
  awake = true;
  collected = 0;
  letGo = 0;
  copies = 0;

  constructor(
    readonly index: number,
    readonly core: Core,
    readonly without: Omissions,
  ) {}

  get name(): string {
    return `n${this.index}`;
  }

  get epoch(): string {
    return `e${this.#incarnation}`;
  }

  get feed(): string {
    return this.core.feedName(this.name, this.epoch);
  }

  get isWriting(): boolean {
    return this.#open !== null;
  }

  get rows(): ReadonlyMap<number, Kept> {
    return this.#durable.rows;
  }

  get guards(): Guards {
    return this.#durable.guards;
  }

  ever(row: number): bigint {
    return this.#durable.ever.get(row) ?? 0n;
  }

  state(row: number): RowState {
    return this.#open?.rows.get(row) ?? this.#durable.rows.get(row)?.state ?? [];
  }

  /** Whether the table shows the row. */
  shows(row: number): boolean {
    return visible(this.state(row)) !== null;
  }

  /** The stamp of a write at `now`: above all that was forgotten here. */
  stamp(row: number, now: number): number {
    const floor = this.without.floor ? 0 : this.#durable.forgotten;
    return this.core.nextStamp(Math.max(now, floor + 1), this.core.highestStamp(this.state(row)));
  }

  write(row: number, state: RowState): void {
    this.#open ??= { xid: this.#takeXid(), rows: new Map() };
    this.#open.rows.set(row, state);
  }

  commit(seen: (row: number) => bigint): void {
    const open = this.#open;
    if (open === null) return;
    this.#open = null;
    const [rows, ever] = [new Map(this.#durable.rows), new Map(this.#durable.ever)];
    for (const [row, state] of open.rows) {
      rows.set(row, { state: state.map((one) => this.#signed(one, open.xid)), xid: open.xid, via: null });
      ever.set(row, this.ever(row) | seen(row));
    }
    this.#durable = { ...this.#durable, rows, ever };
  }

  #signed(version: RowVersion, xid: bigint): RowVersion {
    return version.made ? version : { ...version, made: { feed: this.feed, xid } };
  }

  rollback(): void {
    this.#open = null;
  }

  backup(): void {
    this.#backup = this.#durable;
  }

  restore(): boolean {
    if (this.#backup === null) return false;
    this.#durable = this.#backup;
    this.#open = null;
    const former = { node: this.name, epoch: this.epoch };
    this.#incarnation++;
    const begun = { node: this.name, epoch: this.epoch, snapshot: this.#present() };
    const guards = this.core.begunAnew(this.guards, former, begun);
    this.#durable = { ...this.#durable, guards };
    return true;
  }

  #takeXid(): bigint {
    const { nextXid } = this.#durable;
    this.#durable = { ...this.#durable, nextXid: nextXid + 1n };
    return nextXid;
  }

  #present(): Snapshot {
    return { xmax: this.#durable.nextXid, xip: this.#open ? [this.#open.xid] : [] };
  }

  position(feed: ForgettingNode): Position | null {
    return this.#durable.positions[feed.name] ?? null;
  }

  knowledge(): Knowledge {
    const known = { [this.name]: { cursor: { epoch: this.epoch, snapshot: this.#present() }, tables } };
    for (const [node, position] of Object.entries(this.#durable.positions))
      known[node] = { cursor: { epoch: position.epoch, snapshot: position.complete }, tables: [...position.tables] };
    return known;
  }

  /** All that we ever came past, tables that are copied anew included. */
  #past(): Knowledge {
    const { positions } = this.#durable;
    const past = { [this.name]: { cursor: { epoch: this.epoch, snapshot: this.#present() }, tables } };
    for (const [node, position] of Object.entries(positions)) {
      const snapshot = this.core.comeTo(position, table);
      past[node] = { cursor: { epoch: position.epoch, snapshot }, tables };
    }
    return past;
  }

  // Members

  /** Two nodes that meet tell each other of all members. */
  gossip(other: ForgettingNode): void {
    for (const node of [this, other]) node.#claim();
    const all = { ...this.#durable.members };
    for (const [name, theirs] of Object.entries(other.#durable.members)) all[name] = later(all[name], theirs);
    for (const node of [this, other]) {
      const back = all[node.name]!;
      if (back.evicted) all[node.name] = { ...back, evicted: null, term: back.term + 1 };
    }
    for (const node of [this, other]) node.#durable = { ...node.#durable, members: all };
  }

  #claim(): void {
    const claim: Claim = { number: ++this.#claims, snapshot: this.#present(), known: this.knowledge(), keeps: null };
    const before = this.#durable.members[this.name];
    const at = 0;
    const own: Member = {
      nodeId: this.name,
      epoch: this.epoch,
      tables,
      firstSeen: at,
      lastSeen: at,
      claim,
      evicted: before?.evicted ?? null,
      term: before?.term ?? 0,
    };
    this.#durable = { ...this.#durable, members: { ...this.#durable.members, [this.name]: own } };
  }

  evict(other: ForgettingNode): void {
    const member = this.#durable.members[other.name];
    if (!member || other === this) return;
    const evicted = { ...member, evicted: { at: 0, by: this.name }, term: member.term + 1 };
    this.#durable = { ...this.#durable, members: { ...this.#durable.members, [other.name]: evicted } };
  }

  collect(letsGo: boolean): number {
    const { core } = this;
    const members = this.without.claims ? [] : Object.values(this.#durable.members);
    const self = { nodeId: this.name, epoch: this.epoch };
    const { snapshot } = core.passedByAll(self, members, this.knowledge(), table, this.#present());
    const rows = new Map(this.#durable.rows);
    if (letsGo) this.#letGo(rows, (xid) => core.shows(snapshot, xid));
    let { forgotten } = this.#durable;
    let dropped = 0;
    for (const [row, { state, xid }] of rows) {
      if (state.length !== 1 || !state[0]!.deleted || !core.shows(snapshot, xid) || this.#open?.rows.has(row)) continue;
      rows.delete(row);
      forgotten = Math.max(forgotten, state[0]!.stamp);
      dropped++;
    }
    this.#durable = { ...this.#durable, rows };
    if (dropped === 0) return 0;
    this.collected += dropped;
    const guards = core.raised(this.guards, { node: this.name, epoch: this.epoch }, snapshot);
    this.#durable = { ...this.#durable, rows, guards, forgotten };
    return dropped;
  }

  #letGo(rows: Map<number, Kept>, isPassed: (xid: bigint) => boolean): void {
    for (const [row, kept] of rows) {
      if (!isPassed(kept.xid) || this.#open?.rows.has(row)) continue;
      const state = this.core.letGo(kept.state);
      if (state.length === kept.state.length) continue;
      rows.set(row, { ...kept, state });
      this.letGo++;
    }
  }

  // What is read from us

  /** The next message for a reader; null when it has to copy anew first, or there is nothing to ask. */
  answer(reader: ForgettingNode, last: 'window' | 'copy', cutAt: number): Message | null {
    const { core } = this;
    const request = core.nextRequest(reader.position(this), this.epoch, tables, last);
    if (request === null) return null;
    if (request.kind === 'copy') return this.#piece(reader, request.at, request.whole ?? null);
    if (!this.without.mayRead && !core.meets(reader.knowledge(), this.guards, table)) {
      reader.copyAnew(this);
      return null;
    }
    const [start, present] = [request.from, this.#present()];
    const news = [...this.#durable.rows]
      .filter(([, { xid }]) => core.shows(present, xid) && !core.shows(start, xid))
      .filter(([, { via }]) => via === null || !this.#spared(reader).has(via));
    const xids = [...new Set(news.map(([, { xid }]) => xid))].sort((a, b) => (a < b ? -1 : 1));
    const cut = cutAt < xids.length && cutAt > 0 ? xids[cutAt]! : null;
    const end = cut === null ? present : core.cutSnapshot(start, present, cut);
    const step: Step = { kind: 'window', tables, from: start, to: end, partial: cut !== null };
    return this.#message(
      reader,
      step,
      cut === null,
      news.filter(([, { xid }]) => core.shows(end, xid)),
    );
  }

  #piece(reader: ForgettingNode, at: PieceAt, told: readonly string[] | null): Message {
    const whole = told ?? (at === null && !this.core.meets(reader.knowledge(), this.guards, table) ? tables : []);
    const after = at?.after ? Number(at.after[0]) : -1;
    const keys = [...this.#durable.rows.keys()].filter((row) => row > after).sort((a, b) => a - b);
    const [first, second] = keys;
    const next = second === undefined ? null : { table, after: [String(first)] };
    const step: Step = { kind: 'copy', tables, at, to: this.#present(), next, ...(whole.length > 0 && { whole }) };
    const present = this.#present();
    const rows = [...this.#durable.rows]
      .filter(([row, { xid }]) => row === first && this.core.shows(present, xid))
      .filter(([, { via }]) => whole.length > 0 || via === null || !this.#spared(reader).has(via));
    return this.#message(reader, step, true, rows);
  }

  #spared(reader: ForgettingNode): Set<string> {
    const { [this.name]: _own, ...others } = this.knowledge();
    const known = this.core.alreadyKnown(others, reader.knowledge(), tables);
    return new Set(known.map((node) => this.core.feedName(node, others[node]!.cursor.epoch)));
  }

  #message(reader: ForgettingNode, step: Step, complete: boolean, rows: readonly (readonly [number, Kept])[]): Message {
    return {
      from: this.name,
      to: reader.index,
      epoch: this.epoch,
      readerEpoch: reader.epoch,
      step,
      complete,
      knowledge: this.knowledge(),
      guards: this.guards,
      rows: rows.map(([row, { state }]) => ({ row, state, ever: this.ever(row) })),
    };
  }

  copyAnew(source: ForgettingNode): void {
    const position = this.position(source);
    if (position?.epoch !== source.epoch) return;
    this.copies++;
    this.#move(source.name, this.core.copiedAnew(position, tables));
  }

  #move(node: string, position: Position): void {
    this.#durable = { ...this.#durable, positions: { ...this.#durable.positions, [node]: position } };
  }

  // What is brought to us

  /** Merges a message in one transaction. `waits`: the open one has a row of it. */
  merge(message: Message): 'merged' | 'waits' | 'refused' | 'behind' {
    const { core } = this;
    if (message.rows.some(({ row }) => this.#open?.rows.has(row))) return 'waits';
    if (message.readerEpoch !== this.epoch) return 'refused';
    const current = this.#durable.positions[message.from] ?? null;
    if (message.step.kind === 'window' && !this.without.mayWrite && !core.meets(message.knowledge, this.guards, table))
      return 'behind';
    const step = this.#stepOf(message, current);
    const position = core.advance(current, message.epoch, step);
    if (position === null) return 'refused';
    if (step.kind === 'copy' && this.#mustWait()) return 'waits';
    const xid = this.#takeXid();
    const wasEmpty = this.#durable.rows.size === 0;
    const noted =
      (step.kind === 'copy' && position.copy?.whole !== undefined) ||
      (step.kind === 'copy' && (step.whole?.length ?? 0) > 0);
    if (noted) this.#note(message, step as Step & { kind: 'copy' }, wasEmpty);
    const past = this.#past();
    const late =
      step.kind === 'window' &&
      current?.epoch === message.epoch &&
      current.tables.includes(table) &&
      core.includes(current.complete, step.to);
    for (const sent of message.rows) this.#mergeRow(message, sent, xid, past, late);
    const known = current?.copy?.whole?.known ?? message.knowledge;
    this.#move(message.from, position);
    if (noted && step.kind === 'copy' && step.next === null) this.#conclude(message, known, past, xid);
    if (step.kind === 'window' && message.complete) this.#learn(message);
    return 'merged';
  }

  /** A copy's end writes rows; the model's open transaction may have any of them. */
  #mustWait(): boolean {
    return this.#open !== null;
  }

  #stepOf({ step, knowledge, guards }: Message, current: Position | null): Step {
    if (step.kind === 'window') return step;
    const meets = current === null || this.core.meets(this.knowledge(), guards, table);
    return { ...step, known: knowledge, anew: meets ? [] : tables };
  }

  #note({ from, rows, guards }: Message, step: Step & { kind: 'copy' }, wasEmpty: boolean): void {
    const before = step.at === null ? undefined : this.#durable.noted[from];
    const matched = before?.matched ?? wasEmpty;
    const brought = rows.filter(({ row }) => !matched || this.#durable.rows.has(row)).map(({ row }) => row);
    const noted = { ...this.#durable.noted, [from]: { matched, rows: new Set([...(before?.rows ?? []), ...brought]) } };
    const taken = this.without.takeOver
      ? this.guards
      : this.core.takenOver(this.guards, guards, { node: this.name, epoch: this.epoch });
    this.#durable = { ...this.#durable, noted, guards: step.at === null ? taken : this.guards };
  }

  #mergeRow(
    { from, epoch, knowledge }: Message,
    { row, state: theirs, ever }: Sent,
    xid: bigint,
    past: Knowledge,
    late: boolean,
  ): void {
    const { core, without } = this;
    const heard = new Map(this.#durable.ever).set(row, this.ever(row) | ever);
    this.#durable = { ...this.#durable, ever: heard };
    const ours = this.#durable.rows.get(row);
    const via = core.feedName(from, epoch);
    const seen = ({ made }: RowVersion) =>
      !without.seen && (late || (!without.made && core.knowsMade(past, made!, table)));
    const passed = (version: RowVersion) => !without.absorb && this.#isPassed(knowledge, ours!, version);
    const merged = core.mergeSides({ state: ours?.state ?? [], passed }, { state: theirs, passed: seen });
    const lost = [...(ours?.state ?? []), ...theirs]
      .filter((one) => !merged.some((kept) => core.sameVersion(kept, one)))
      .map(({ stamp }) => stamp);
    this.#durable = { ...this.#durable, forgotten: Math.max(this.#durable.forgotten, ...lost) };
    if (merged.length === 0) return ours && this.#delete(row, core.mergeStates(ours.state, theirs), xid);
    if (ours && core.sameState(merged, ours.state)) return;
    this.#put(row, { state: merged, xid, via: core.sameState(merged, theirs) ? via : null });
  }

  #isPassed(knowledge: Knowledge, { xid }: Kept, { made }: RowVersion): boolean {
    const own = { feed: this.feed, xid };
    return (
      this.core.knowsMade(knowledge, own, table) || (!this.without.made && this.core.knowsMade(knowledge, made!, table))
    );
  }

  #put(row: number, kept: Kept): void {
    this.#durable = { ...this.#durable, rows: new Map(this.#durable.rows).set(row, kept) };
  }

  /** A versioned delete over a state. */
  #delete(row: number, state: RowState, xid: bigint): void {
    const { core } = this;
    // No later than it must be: whoever wrote over the row meanwhile is to stand by the last write.
    const stamp = core.nextStamp(0, core.highestStamp(state));
    const past = core.pastOfWrite(state, this.feed);
    const made = { feed: this.feed, xid };
    const tombstone = { stamp, origin: this.feed, priority: 0, past, deleted: true, image: null, made };
    this.#put(row, { state: [tombstone], xid, via: null });
  }

  /** The end of a copy that brought everything: what it did not bring was deleted at the source, or has never been there. */
  #conclude({ from, epoch }: Message, known: Knowledge, past: Knowledge, xid: bigint): void {
    const { core } = this;
    const { rows: brought, matched } = this.#durable.noted[from]!;
    const source = core.feedName(from, epoch);
    for (const [row, kept] of this.#durable.rows) {
      if (brought.has(row) || (matched && kept.via === source) || kept.state.every(({ deleted }) => deleted)) continue;
      if (this.without.deleteAtEnd) continue;
      const passed = (version: RowVersion) => this.#isPassed(known, kept, version);
      const rest = core.unforgotten({ state: kept.state, passed }, []);
      const written = rest.length === 1 && rest[0]!.origin === this.feed && !matched ? rest[0]! : null;
      const deletion =
        written && this.#knewBase(written, known, past) && core.presumedDeletion(written, `${this.name}~presumed`);
      const state = deletion ? core.mergeStates(rest, [this.#signed(deletion, xid)]) : rest;
      if (state.length === 0) this.#delete(row, kept.state, xid);
      else if (!core.sameState(state, kept.state)) this.#put(row, { state, xid, via: null });
    }
    const { [from]: _, ...noted } = this.#durable.noted;
    const end = { node: this.name, epoch: this.epoch, snapshot: { xmax: xid + 1n, xip: [] } };
    this.#durable = { ...this.#durable, noted, guards: core.concluded(this.guards, end) };
  }

  /** Whether the source has come as far as we in the feeds of all whose writes were written over. */
  #knewBase(version: RowVersion, known: Knowledge, past: Knowledge): boolean {
    return Object.keys(version.past).every((origin) => {
      const [node, epoch] = origin.split('~') as [string, string];
      const [theirs, ours] = [known[node], past[node]];
      if (theirs?.cursor.epoch !== epoch || ours?.cursor.epoch !== epoch) return false;
      return this.core.includes(theirs.cursor.snapshot, ours.cursor.snapshot);
    });
  }

  #learn({ from, knowledge }: Message): void {
    for (const [node, theirs] of Object.entries(knowledge)) {
      if (node === this.name || node === from || !theirs.tables.includes(table)) continue;
      const { epoch, snapshot } = theirs.cursor;
      const ours = this.#durable.positions[node];
      if (ours && (ours.copy || ours.epoch > epoch)) continue;
      const isNew = ours === undefined || ours.epoch !== epoch || !ours.tables.includes(table);
      const joined = isNew ? snapshot : this.core.joinSnapshots(ours.snapshot, snapshot);
      this.#move(node, { epoch, tables, snapshot: joined, complete: joined, reached: joined, copy: null });
    }
  }
}

type PieceAt = Extract<Step, { kind: 'copy' }>['at'];

/** The row that stands, by the last write. */
export function visible(state: RowState): string | null {
  const last = state.reduce<RowState[number] | null>(
    (best, one) =>
      best === null || one.stamp > best.stamp || (one.stamp === best.stamp && one.origin > best.origin) ? one : best,
    null,
  );
  return last?.image?.id ?? null;
}

function later(a: Member | undefined, b: Member): Member {
  if (a === undefined) return b;
  const [x, y] = [a, b].map((one) => `${one.epoch}/${String(one.claim?.number ?? 0).padStart(9, '0')}`);
  const { epoch, claim } = x! >= y! ? a : b;
  const { evicted, term } = a.term >= b.term ? a : b;
  return { ...a, epoch, claim, evicted, term };
}
