import {
  beginning,
  feedName,
  formatSnapshot,
  type Guards,
  includes,
  type Knowledge,
  meets,
  parseSnapshot,
  type Position,
  withoutRows,
} from '@pgmesh/core';
import { fromWireGuards, fromWireKnowledge, isPartial, Problem, type WindowFrame } from '@pgmesh/wire';
import type { PoolClient, QueryConfig, QueryResult } from 'pg';
import { type ConflictNote, noteOf } from '../conflicts/view';
import { isTooLarge } from '../database';
import { guardedTables, type GuardRow, toGuards } from '../forgetting/guards';
import { type Course, Past } from '../forgetting/past';
import { WholeCopy } from '../forgetting/whole-copy';
import { assertConstraints, assertUnaffected, mustSettle, parkedTables } from '../parking/watch';
import { type Changed, noChange } from '../parking/record';
import { Settlement } from '../parking/settlement';
import type { Shapes } from '../shapes';
import {
  type InTouch,
  learnFrom,
  lockPositions,
  positionAfter,
  type PositionRow,
  seenAfter,
  type StoredSeen,
  toPosition,
  writePosition,
} from '../positions';
import { durably } from '../feed/durable';
import { burst, prepared } from '../prepared';
import type { TableShape } from '../table-shape';
import type { Crowd } from './crowd';
import type { Judge } from './judge';
import { type Merged, StageMerge } from './merge';
import { cannotRead, Unreadable } from './unreadable';
import { notedMost } from './resolve';
import type { Stage } from './stage';

/** What a window changed, and where we stand after it. */
export interface MergedWindow {
  readonly rows: number;
  readonly changed: number;
  readonly conflicts: number;
  /** The conflicts one by one, at most a thousand. */
  readonly noted: readonly ConflictNote[];
  readonly tables: Readonly<Record<string, number>>;
  /** The origins of which rows were here already. */
  readonly repeated: readonly string[];
  readonly parking: Changed;
  readonly position: Position;
}

export interface MergeTransactionOptions {
  readonly nodeId: string;
  readonly epoch: string;
  readonly inTouch: InTouch;
  /** Under which we write. */
  readonly origin: string;
  readonly maxDrift: number;
  readonly judge: Judge;
  readonly crowded: (crowd: Crowd) => void;
  readonly careful: boolean;
  readonly shapes: Shapes;
  /** Whether it is decided anew which rows stand: a constraint is in the way of one, or rows are parked. */
  readonly settling: boolean;
  /** The stages that are known to have rows with values that cannot be read here. */
  readonly unread: ReadonlySet<Stage>;
}

/** The window is about tables that nobody watches over here: it has to be merged with `settling`. */
export class MustSettle extends Error {}

/**
 * SQLSTATE of p2p.assert_versioned: a row of these tables was written here and has no version for that yet. Asked at the end, when
 * nobody but after us can write the window's rows.
 */
export const unversioned = 'P2002';

/** The one transaction in which a window becomes rows, versions and a position (invariant 7). */
export class MergeTransaction {
  /** Where we stood in the sender's feed. */
  before: Position | null = null;
  private after: Position | null = null;
  private positions: ReadonlyMap<string, Position> = new Map();
  private seenBefore: StoredSeen | null = null;
  private readonly opened = new Map<Stage, { merge: StageMerge; results: QueryResult[] }>();
  private readonly tables: Record<string, number> = {};
  private readonly counters: QueryConfig[] = [];
  private readonly tableIds = new Set<number>();
  private rows = 0;
  private changed = 0;
  private conflicts = 0;
  private readonly repeated = new Set<string>();
  private readonly noted: ConflictNote[] = [];
  private settlement: Settlement | null = null;
  private parkedTables: readonly number[] = [];
  private guards: ReadonlyMap<string, Guards> = new Map();
  private readonly theirs: Knowledge;
  private readonly feed: string;
  private whole: WholeCopy | null = null;
  private parking: Changed = noChange;

  constructor(
    private readonly client: PoolClient,
    private readonly head: WindowFrame,
    private readonly options: MergeTransactionOptions,
  ) {
    this.theirs = fromWireKnowledge(head.knowledge);
    this.feed = feedName(head.node, head.epoch);
  }

  /**
   * Begins, and sends what the small ones of `stages` begin with along, at once.
   * @returns false, with nothing begun, when the window does not connect to where we stand
   * @throws MustSettle
   * @throws Problem `behind`
   */
  async begin(stages: readonly Stage[]): Promise<boolean> {
    const early = this.options.settling ? [] : stages.filter(({ literals }) => literals.length > 0);
    // What has been forgotten makes no difference to what these begin with.
    const small = early.map((stage) => this.open(stage));
    const openings = small.map((merge) => merge.opening);
    const plans = this.head.kind === 'copy' ? [bySize] : [];
    const [locked, parked, guarded, ...rest] = (
      await burst(this.client, [...begin, lockPositions, parkedTables, guardedTables, ...plans, ...openings.flat()])
    ).slice(begin.length);
    const results = rest.slice(plans.length);
    small.forEach((merge, i) => {
      this.opened.set(merge.stage, { merge, results: results.splice(0, openings[i]!.length) });
    });
    const positions = locked!.rows as unknown as PositionRow[];
    this.positions = new Map(positions.map((row) => [row.node, toPosition(row)]));
    this.seenBefore = positions.find(({ node }) => node === this.head.node)?.seen ?? null;
    this.before = this.positions.get(this.head.node) ?? null;
    this.guards = toGuards(guarded!.rows as unknown as GuardRow[]);
    if (this.head.kind === 'window') await this.assertNotBehind();
    this.after = positionAfter(this.before, this.head, this.anew());
    if (this.after === null) await this.client.query('ROLLBACK');
    else {
      await this.settleWhere((parked!.rows as { id: number }[]).map(({ id }) => id));
      if (this.head.whole.length > 0) await this.openWhole();
    }
    return this.after !== null;
  }

  /** Who has not come past what we have forgotten may still have what was deleted (docs/members.md). */
  private async assertNotBehind(): Promise<void> {
    const tables = this.head.tables.filter((table) => !meets(this.theirs, this.guards.get(table) ?? [], table));
    if (tables.length === 0) return;
    await this.client.query('ROLLBACK');
    throw new Problem(
      'behind',
      `${this.head.node} has not heard of deletions in ${tables.join(', ')} that are forgotten here. It copies from here first, by itself; then its changes are taken.`,
      { tables },
    );
  }

  /** The tables that we follow and of which the sender has forgotten what we have not heard of. */
  private anew(): string[] {
    if (this.head.kind === 'window') return [];
    const { tables, guards } = this.head;
    return tables.filter((table) => !this.pastOf(table).meets(fromWireGuards(guards, table)));
  }

  private async openWhole(): Promise<void> {
    const { shapes } = this.options;
    const tables = this.head.whole.flatMap((name) => shapes.get(name) ?? []);
    this.whole = new WholeCopy(this.client, this.head, tables, this.feed, this.options);
    this.guards = await this.whole.begin(this.guards);
  }

  private async concludeWhole(copy: WholeCopy): Promise<void> {
    const known = this.before?.copy?.whole?.known ?? this.theirs;
    const pastOf = (table: string) => new Past(this.options, this.positions, known, table);
    const changed = await copy.conclude(this.guards, pastOf, this.settlement);
    for (const [shape, rows] of changed) this.count(shape, rows);
  }

  private count({ id, name }: TableShape, changed: number): void {
    this.tableIds.add(id);
    this.changed += changed;
    if (changed > 0) this.tables[name] = (this.tables[name] ?? 0) + changed;
  }

  private async settleWhere(parked: readonly number[]): Promise<void> {
    const { shapes, settling } = this.options;
    const tables = this.head.tables.flatMap((name) => shapes.get(name)?.id ?? []);
    if (settling) this.settlement = await Settlement.open(this.client, shapes, tables);
    else if (mustSettle(shapes, tables, parked)) throw new MustSettle();
    this.parkedTables = parked;
  }

  async merge(stage: Stage): Promise<void> {
    const merged = await this.mergeStage(stage).catch((error: unknown) => {
      // Nothing is in the way of a lifted row but what it is itself: its values cannot even be read.
      if (!this.settlement || !(cannotRead(error, stage.shape) || isTooLarge(error))) throw error;
      const what = this.options.unread.has(stage) && isTooLarge(error) ? 'size' : 'values';
      throw new Unreadable(stage.shape.name, error as Error, what);
    });
    await this.whole?.add(stage);
    this.count(stage.shape, merged.changed);
    this.rows += stage.count;
    this.conflicts += merged.conflicts;
    for (const origin of merged.repeated) this.repeated.add(origin);
    const room = notedMost - this.noted.length;
    this.noted.push(...merged.noted.slice(0, room).map((record) => noteOf(stage.shape, record)));
    if (merged.conflicts > 0) this.counters.push(countConflicts(stage.shape, merged.conflicts));
  }

  async commit(): Promise<MergedWindow> {
    if (this.after === null) throw new Error('A window that does not connect is not committed');
    const position = this.rows === 0 ? withoutRows(this.before, this.after) : this.after;
    const { nodeId, inTouch } = this.options;
    // A table that the window covers and that we do not follow there is not here whole.
    const tables = this.head.tables.filter((table) => position.tables.includes(table));
    const sender = { node: this.head.node, tables };
    const isComplete = this.head.kind === 'window' && !isPartial(this.head);
    const learned = learnFrom(this.positions, nodeId, sender, isComplete ? this.head.knowledge : {}, inTouch);
    if (this.whole && this.head.next === null) await this.concludeWhole(this.whole);
    const moved = [...learned].map(([node, to]) => writePosition(node, to));
    const { shapes } = this.options;
    const nowSeen = seenAfter(this.seenBefore, this.head, tables, shapes.names);
    const own = writePosition(this.head.node, position, nowSeen);
    const versioned = prepared('SELECT p2p.assert_versioned($1)', [[...this.tableIds]]);
    if (this.settlement) {
      this.parking = await this.settlement.conclude();
      for (const id of this.settlement.tables) this.tableIds.add(id);
    }
    const unaffected = this.settlement ? [] : assertUnaffected(shapes, this.tableIds, this.parkedTables);
    const constraints = [...assertConstraints(shapes, this.tableIds), ...unaffected];
    await burst(this.client, [versioned, ...constraints, own, ...moved, ...this.counters, { text: 'COMMIT' }]);
    const { rows, changed, conflicts, noted, parking } = this;
    const repeated = [...this.repeated];
    return { rows, changed, conflicts, noted, tables: this.tables, repeated, parking, position };
  }

  private async mergeStage(stage: Stage): Promise<Merged> {
    const opened = this.opened.get(stage);
    if (opened) return opened.merge.conclude(this.client, opened.results);
    if (!this.settlement) return this.open(stage).run(this.client);
    const readable = this.options.unread.has(stage) ? await this.settlement.readStage(stage) : stage;
    return this.open(await this.settlement.liftStage(readable)).run(this.client);
  }

  private open(stage: Stage): StageMerge {
    const { origin, maxDrift, judge, crowded, careful } = this.options;
    const { name } = stage.shape;
    return new StageMerge(stage, {
      // Rows that were brought alone, and move nobody's position, are in nobody's knowledge: they are passed on to all.
      via: this.isAlone ? null : this.feed,
      feed: this.feed,
      sender: this.head.node,
      origin,
      maxDrift,
      judge,
      crowded,
      careful,
      // Asked only once rows were found that are not here, or that are concurrent with ours: positions are known by then.
      past: () => this.pastOf(name),
      isGuarded: () => (this.guards.get(name) ?? []).length > 0,
    });
  }

  /** Whether these are rows of nodes that compare: of no time. */
  private get isAlone(): boolean {
    return this.head.kind === 'window' && this.head.to === formatSnapshot(beginning);
  }

  /** A window of which every row lies within what we have come past was repeated, or overtaken. Its end alone does not tell: rows of what is held back lie beyond. */
  private courseOf(table: string): Course {
    const { kind, epoch, to, reached = to, tables, guards } = this.head;
    const { before } = this;
    if (kind === 'copy') return 'next';
    if (this.isAlone) {
      return this.pastIn(table, 'next').meets(fromWireGuards(guards, table)) ? 'compared' : 'next';
    }
    if (before?.epoch !== epoch) return 'next';
    const isLate =
      tables.every((name) => before.tables.includes(name)) && includes(before.complete, parseSnapshot(reached)!);
    return isLate ? 'late' : 'next';
  }

  private pastOf(table: string): Past {
    return this.pastIn(table, this.courseOf(table));
  }

  private pastIn(table: string, course: Course): Past {
    return new Past(this.options, this.positions, this.theirs, table, course);
  }
}

/**
 * Where we stand is told to others as soon as it can be seen, and what is told must outlive a crash: a merge is flushed to disk by its
 * commit also where the database is set not to (synchronous_commit = off).
 *
 * p2p.mode holds this transaction's own id, so that a setting that survived it would suppress nothing (trap 31). The lock
 * time-out is below deadlock_timeout: where a user's transaction and ours wait for each other, it is ours that gives way.
 */
export const begin: QueryConfig[] = [
  { text: 'BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE' },
  prepared(durably, []),
  prepared(
    `SELECT set_config('p2p.mode', pg_current_xact_id()::text || ' apply', true), set_config('lock_timeout',
      greatest(1, least(400, 400 * extract(epoch FROM current_setting('deadlock_timeout')::interval)))::int4::text, true)`,
    [],
  ),
];

/** Nearly all rows of a copy are new: nothing is found by looking for each. */
const bySize = prepared(
  `SELECT set_config('enable_hashjoin', 'on', true), set_config('enable_mergejoin', 'on', true)`,
  [],
);

function countConflicts(shape: TableShape, conflicts: number): QueryConfig {
  return prepared('UPDATE p2p.tracked_table SET conflicts = conflicts + $2 WHERE id = $1', [shape.id, conflicts]);
}
