import { copiedFirst, type References } from './copy-order';
import type { Knowledge } from './knowledge';
import { beginning, includes, joinSnapshots, meetSnapshots, type Snapshot } from './snapshot';

/**
 * Where a reader stands in one peer's feed. It follows a stream of windows over `tables` up to `snapshot`; tables that it does
 * not follow yet are first copied, piece by piece in the order of their primary keys, and join the stream when that is done.
 */
export interface Position {
  /** The incarnation of the feed. A feed of another epoch is begun anew. */
  readonly epoch: string;
  readonly tables: readonly string[];
  readonly snapshot: Snapshot;
  /**
   * Up to where all that the feed had is here, or what covers it. The stream may have come further, in windows that were cut: a row of a
   * transaction that it has come past may have been written since, and be still to come.
   */
  readonly complete: Snapshot;
  /**
   * What any step brought rows of. Beyond `snapshot` while a first copy goes on and after one, when the stream goes back to
   * where the copy began: rows from there are here although we do not claim to have read so far. So are some of transactions of which
   * others were held back, and rows that came alone, to repair them.
   */
  readonly reached: Snapshot;
  readonly copy: CopyProgress | null;
  /** Tables that the stream went on without, and up to where each was followed: it goes back there when they come again. */
  readonly left?: Readonly<Record<string, Snapshot>>;
  /** Tables that are copied anew, and up to where each had been followed before (docs/members.md). */
  readonly formerly?: Readonly<Record<string, Snapshot>>;
}

/** A first copy under way. */
export interface CopyProgress {
  readonly tables: readonly string[];
  /** What every piece had seen, as a rule the snapshot of the first: whatever came after it is for the stream to bring. */
  readonly since: Snapshot;
  readonly next: CopyPoint;
  /** Where rows that the source does not have may have been deleted there. */
  readonly whole?: Whole;
  readonly extent?: CopyExtent;
}

/** How many of the source's rows have been gone past, whether they had to be sent or not, and about how many there are; null where that is not known. */
export interface CopyExtent {
  readonly rows: number;
  readonly of: number | null;
}

/** Tables of which a copy brings every row, so that what it does not bring is not there; and what the source knew at its beginning. */
export interface Whole {
  readonly tables: readonly string[];
  readonly known: Knowledge;
}

/** After which key of which table a copy goes on; `after` null is before the table's first row. Keys are PostgreSQL's text. */
export interface CopyPoint {
  readonly table: string;
  readonly after: readonly string[] | null;
}

/** What a reader asks of a feed next. */
export type FeedRequest =
  | { readonly kind: 'window'; readonly tables: readonly string[]; readonly from: Snapshot }
  | {
      readonly kind: 'copy';
      readonly tables: readonly string[];
      readonly at: CopyPoint | null;
      /** Tables of which this copy brought every row so far. */
      readonly whole?: readonly string[];
    };

/** A window or piece as far as positions are concerned. */
export type Step =
  | {
      readonly kind: 'window';
      readonly tables: readonly string[];
      readonly from: Snapshot;
      readonly to: Snapshot;
      /** What it may have rows of, where that is more than `to`. */
      readonly reached?: Snapshot;
      /** Whether it was cut, or rows of it are left for others to bring. */
      readonly partial?: boolean;
    }
  | {
      readonly kind: 'copy';
      readonly tables: readonly string[];
      readonly at: CopyPoint | null;
      readonly to: Snapshot;
      readonly next: CopyPoint | null;
      /** Tables of which every row is brought (see Whole). */
      readonly whole?: readonly string[];
      /** What the source knew as of `to`. */
      readonly known?: Knowledge;
      readonly extent?: CopyExtent;
      /** Tables that have to be copied even where they are followed: the source has forgotten what the reader lacks. */
      readonly anew?: readonly string[];
    };

/**
 * What to ask for next, by where the reader stands and which tables both share; null when there is nothing to share. With a
 * copy under way the two kinds alternate, so that a long copy does not hold up the stream. A copy of which a table is shared
 * no more is begun anew with those that are. Tables are copied after those that they refer to.
 */
export function nextRequest(
  position: Position | null,
  epoch: string,
  shared: readonly string[],
  last: FeedRequest['kind'] | null,
  references: References = [],
): FeedRequest | null {
  if (shared.length === 0) return null;
  const current = position?.epoch === epoch ? rejoin(position, shared) : null;
  const copying = current?.copy?.tables.every((table) => shared.includes(table)) ? current.copy : null;
  const followed = (current?.tables ?? []).filter((table) => shared.includes(table));
  const missing = shared.filter((table) => !followed.includes(table));
  const window: FeedRequest | null =
    followed.length > 0 ? { kind: 'window', tables: followed, from: current!.snapshot } : null;
  const copy: FeedRequest | null = copying
    ? { kind: 'copy', tables: copying.tables, at: copying.next, ...(copying.whole && { whole: copying.whole.tables }) }
    : missing.length > 0
      ? { kind: 'copy', tables: copiedFirst(missing, references), at: null }
      : null;
  return last === 'copy' ? (window ?? copy) : (copy ?? window);
}

/** The position after a step was applied; null when the step does not connect to where the reader stands. */
export function advance(position: Position | null, epoch: string, step: Step): Position | null {
  const current: Position =
    position?.epoch === epoch
      ? position
      : { epoch, tables: [], snapshot: beginning, complete: beginning, reached: beginning, copy: null };
  const next = step.kind === 'window' ? afterWindow(current, step) : afterPiece(current, step);
  const reached = step.kind === 'window' && step.reached ? joinSnapshots(step.reached, step.to) : step.to;
  return next && { ...next, reached: joinSnapshots(current.reached, reached) };
}

/** The position after a step that had no row. Of an incarnation that we have come back to rows may be here from before we heard of another. */
export function withoutRows(before: Position | null, after: Position): Position {
  if (before === null) return { ...after, reached: beginning };
  return before.epoch === after.epoch ? { ...after, reached: before.reached } : after;
}

function afterWindow(position: Position, step: Step & { kind: 'window' }): Position | null {
  // One that starts after where a table was left off is still good for the others.
  const rejoined = rejoin(position, step.tables);
  const current = includes(rejoined.snapshot, step.from) ? rejoined : position;
  if (current.tables.length === 0 || !includes(current.snapshot, step.from)) return null;
  const [tables, gone] = [true, false].map((covered) =>
    current.tables.filter((table) => step.tables.includes(table) === covered),
  ) as [string[], string[]];
  if (tables.length === 0) return null;
  // A late or repeated window is no reason to leave off tables that it did not cover.
  if (includes(current.snapshot, step.to)) return position;
  const left = { ...current.left, ...Object.fromEntries(gone.map((table) => [table, current.complete])) };
  const complete = step.partial ? current.complete : joinSnapshots(current.complete, step.to);
  return leaving({ ...current, tables, snapshot: joinSnapshots(current.snapshot, step.to), complete }, left);
}

/** The position with the stream back where it was when it last covered those of the tables that were left off. */
function rejoin(position: Position, tables: readonly string[]): Position {
  const [back, rest] = [true, false].map((comes) =>
    Object.entries(position.left ?? {}).filter(([table]) => tables.includes(table) === comes),
  ) as [[string, Snapshot][], [string, Snapshot][]];
  if (back.length === 0) return position;
  const backTo = (from: Snapshot) => back.reduce((met, [, at]) => meetSnapshots(met, at), from);
  const [snapshot, complete] = [backTo(position.snapshot), backTo(position.complete)];
  const all = [...position.tables, ...back.map(([table]) => table)].sort();
  return leaving({ ...position, tables: all, snapshot, complete }, Object.fromEntries(rest));
}

/** The position from which these tables are copied anew; what they were followed up to is remembered. */
export function copiedAnew(position: Position, tables: readonly string[]): Position {
  const again = tables.filter((table) => includesTable(position, table));
  if (again.length === 0) return position;
  const formerly = Object.fromEntries(again.map((table) => [table, comeTo(position, table)]));
  const left = Object.entries(position.left ?? {}).filter(([table]) => !again.includes(table));
  const followed = position.tables.filter((table) => !again.includes(table));
  const next = { ...position, tables: followed, formerly: { ...position.formerly, ...formerly } };
  return leaving(next, Object.fromEntries(left));
}

function includesTable({ tables, left }: Position, table: string): boolean {
  return tables.includes(table) || Object.hasOwn(left ?? {}, table);
}

/** Up to where a reader has ever come in a table's feed: it held all that was there, or what covers it. */
export function comeTo({ tables, complete, left, formerly }: Position, table: string): Snapshot {
  const ends = [tables.includes(table) ? complete : undefined, left?.[table], formerly?.[table]];
  return ends.reduce<Snapshot>((joined, end) => (end ? joinSnapshots(joined, end) : joined), beginning);
}

function leaving({ left: _, ...position }: Position, left: Readonly<Record<string, Snapshot>>): Position {
  return Object.keys(left).length === 0 ? position : { ...position, left };
}

function afterPiece(before: Position, step: Step & { kind: 'copy' }): Position | null {
  const position = step.at === null ? copiedAnew(before, step.anew ?? []) : before;
  const piece = step.at === null ? begin(position, step) : goOn(position.copy, step, step.at);
  if (piece === null) return null;
  const { tables, since } = piece;
  if (step.next !== null) return { ...position, copy: { ...piece, next: step.next } };
  const atBoth = (before: Snapshot) => (position.tables.length > 0 ? meetSnapshots(before, since) : since);
  const [snapshot, complete] = [atBoth(position.snapshot), atBoth(position.complete)];
  return leavingRest({ ...position, tables: [...position.tables, ...tables].sort(), snapshot, complete, copy: null });
}

type Piece = Omit<CopyProgress, 'next'>;

/** The position without what it had left off of the tables that it follows. */
export function leavingRest(position: Position): Position {
  const left = Object.entries(position.left ?? {}).filter(([table]) => !position.tables.includes(table));
  return leaving(position, Object.fromEntries(left));
}

/** A first piece begins a copy, whatever was under way; one that was repeated after its copy's end brings nothing new. */
function begin(position: Position, step: Step & { kind: 'copy' }): Piece | null {
  const tables = step.tables.filter((table) => !position.tables.includes(table));
  const whole = step.whole?.length ? { tables: step.whole, known: step.known ?? {} } : undefined;
  const { extent } = step;
  return tables.length === 0 ? null : { tables, since: step.to, ...(whole && { whole }), ...(extent && { extent }) };
}

/** A later piece is of the copy under way, and may have been read before a first piece that was repeated. */
function goOn(copy: CopyProgress | null, step: Step & { kind: 'copy' }, at: CopyPoint): Piece | null {
  if (copy === null || !samePoint(copy.next, at) || !sameTables(copy.tables, step.tables)) return null;
  if (!sameTables(copy.whole?.tables ?? [], step.whole ?? [])) return null;
  const { next: _, ...begun } = copy;
  const extent = addExtents(copy.extent, step.extent);
  return { ...begun, since: meetSnapshots(copy.since, step.to), ...(extent && { extent }) };
}

/** What is told with the first piece holds for all; rows that came since may make it too little. */
function addExtents(before: CopyExtent | undefined, piece: CopyExtent | undefined): CopyExtent | undefined {
  if (!before || !piece) return before ?? piece;
  const rows = before.rows + piece.rows;
  const of = before.of ?? piece.of;
  return { rows, of: of === null ? null : Math.max(of, rows) };
}

function samePoint(a: CopyPoint, b: CopyPoint): boolean {
  return a.table === b.table && JSON.stringify(a.after) === JSON.stringify(b.after);
}

function sameTables(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((table) => b.includes(table));
}
