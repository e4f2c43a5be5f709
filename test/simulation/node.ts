import type { Knowledge, Known, Position, Snapshot } from '@pgmesh/core';
import { type Core, type History, nothing, type Replica } from './history';

const tables: readonly string[] = ['t'];

/** A row of the metadata table: its versions, the transaction that changed it last, and the feed that it came from. */
export interface MetadataRow {
  readonly replica: Replica;
  readonly xid: bigint;
  readonly via: string | null;
}

/** What survives a crash. */
interface Durable {
  readonly rows: ReadonlyMap<number, MetadataRow>;
  readonly positions: Readonly<Record<string, Position>>;
  readonly nextXid: bigint;
}

/** A window on its way. */
export interface Message {
  readonly from: string;
  readonly to: number;
  readonly epoch: string;
  readonly start: Snapshot;
  readonly end: Snapshot;
  readonly rows: readonly (readonly [row: number, replica: Replica])[];
  readonly knowledge: Knowledge;
}

/** A node and its database: one local transaction at a time, windows merged in transactions of their own. */
export class SimulatedNode {
  #durable: Durable = { rows: new Map(), positions: {}, nextXid: 1n };
  #open: { readonly xid: bigint; readonly rows: Map<number, Replica> } | null = null;
  #backup: Durable | null = null;
  #incarnation = 0;

  constructor(
    readonly index: number,
    readonly core: Core,
    readonly histories: readonly History[],
  ) {}

  get name(): string {
    return `n${this.index}`;
  }

  get epoch(): string {
    return `e${this.#incarnation}`;
  }

  get origin(): string {
    return this.core.feedName(this.name, this.epoch);
  }

  replica(row: number): Replica {
    return this.#open?.rows.get(row) ?? this.#durable.rows.get(row)?.replica ?? nothing;
  }

  write(row: number, replica: Replica): void {
    this.#open ??= { xid: this.#takeXid(), rows: new Map() };
    this.#open.rows.set(row, replica);
  }

  /** The rows that the transaction wrote, now durable. */
  commit(): readonly number[] {
    const open = this.#open;
    if (open === null) return [];
    const rows = new Map(this.#durable.rows);
    for (const [row, replica] of open.rows) rows.set(row, { replica, xid: open.xid, via: null });
    this.#durable = { ...this.#durable, rows };
    this.#open = null;
    return [...open.rows.keys()];
  }

  /** A rollback, and what a crash comes to. */
  forget(): void {
    this.#open = null;
  }

  backup(): void {
    this.#backup = this.#durable;
  }

  /** Goes back to the backup, as another incarnation; false when there is none. */
  restore(): boolean {
    if (this.#backup === null) return false;
    this.#durable = this.#backup;
    this.#open = null;
    this.#incarnation++;
    return true;
  }

  #takeXid(): bigint {
    const { nextXid } = this.#durable;
    this.#durable = { ...this.#durable, nextXid: nextXid + 1n };
    return nextXid;
  }

  #snapshot(): Snapshot {
    return { xmax: this.#durable.nextXid, xip: this.#open ? [this.#open.xid] : [] };
  }

  positionIn(feed: SimulatedNode): Position {
    const position = this.#durable.positions[feed.name];
    if (position?.epoch === feed.epoch) return position;
    const { beginning } = this.core;
    return { epoch: feed.epoch, tables, snapshot: beginning, complete: beginning, reached: beginning, copy: null };
  }

  /** How far it has come in every feed, its own included. */
  knowledge(): Knowledge {
    const known: Record<string, Known> = {
      [this.name]: { cursor: { epoch: this.epoch, snapshot: this.#snapshot() }, tables },
    };
    for (const [node, { epoch, complete: snapshot, reached }] of Object.entries(this.#durable.positions)) {
      known[node] = { cursor: { epoch, snapshot }, tables, reached };
    }
    return known;
  }

  /** What `reader` has not seen, but for rows of feeds where it stands as far as this node. */
  window(reader: SimulatedNode): Message {
    const [start, end] = [reader.positionIn(this).snapshot, this.#snapshot()];
    const knowledge = this.knowledge();
    const { [this.name]: _own, ...others } = knowledge;
    const spared = new Set(
      this.core
        .alreadyKnown(others, reader.knowledge(), tables)
        .map((node) => this.core.feedName(node, others[node]!.cursor.epoch)),
    );
    const rows = [...this.#durable.rows]
      .filter(([, { xid }]) => this.core.shows(end, xid) && !this.core.shows(start, xid))
      .filter(([, { via }]) => via === null || !spared.has(via))
      .map(([row, { replica }]) => [row, replica] as const);
    return { from: this.name, to: reader.index, epoch: this.epoch, start, end, rows, knowledge };
  }

  /** Merges a window in one transaction. It waits, and the answer is false, while the open one has a row of it. */
  merge(message: Message): boolean {
    if (message.rows.some(([row]) => this.#open?.rows.has(row))) return false;
    const position = this.#advanced(message);
    if (position === null) return true;
    const xid = this.#takeXid();
    const rows = new Map(this.#durable.rows);
    for (const [row, theirs] of message.rows) {
      const ours = this.replica(row);
      const replica = this.histories[row]!.merge(ours, theirs);
      if (this.core.sameState(replica.state, ours.state)) continue;
      const asSent = this.core.sameState(replica.state, theirs.state);
      rows.set(row, { replica, xid, via: asSent ? this.core.feedName(message.from, message.epoch) : null });
    }
    this.#durable = { ...this.#durable, rows, positions: this.#learned(message, position) };
    return true;
  }

  #advanced({ from, epoch, start, end }: Message): Position | null {
    const { beginning } = this.core;
    const current = this.#durable.positions[from] ?? null;
    const ours: Position =
      current?.epoch === epoch
        ? current
        : { epoch, tables, snapshot: beginning, complete: beginning, reached: beginning, copy: null };
    return this.core.advance(ours, epoch, { kind: 'window', tables, from: start, to: end });
  }

  #learned(message: Message, position: Position): Record<string, Position> {
    const positions: Record<string, Position> = { ...this.#durable.positions, [message.from]: position };
    for (const [node, theirs] of Object.entries(message.knowledge)) {
      if (node === this.name || node === message.from) continue;
      const learned = this.core.learn(positions[node] ?? null, theirs, tables);
      if (learned) positions[node] = learned;
    }
    return positions;
  }
}
