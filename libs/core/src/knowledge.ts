import { type Cursor } from './cursor';
import { includes, joinSnapshots, type Snapshot } from './snapshot';

/** How far a node has come in another node's feed, and over which tables that holds. */
export interface Known {
  readonly cursor: Cursor;
  readonly tables: readonly string[];
  /** Of our own positions: what we hold rows of, where that is more than the cursor claims (see Position). */
  readonly reached?: Snapshot;
}

/** A feed's name, which is the `via` of what was read from it: the node and the incarnation of its database. */
export function feedName(node: string, epoch: string): string {
  return `${node}~${epoch}`;
}

/** What a node knows of every other: by node id (invariant 9). */
export type Knowledge = Readonly<Record<string, Known>>;

/** Whether all of `b` is contained in `a`: the same incarnation, every table, and every transaction. */
export function knows(a: Known | undefined, b: Known): boolean {
  return (
    a !== undefined &&
    a.cursor.epoch === b.cursor.epoch &&
    b.tables.every((table) => a.tables.includes(table)) &&
    includes(a.cursor.snapshot, b.cursor.snapshot)
  );
}

/**
 * Our position in a third node's feed after merging a window over `tables` whose sender stood at `theirs`: moved forward, or
 * null when the sender's knowledge gives us nothing (another incarnation, a table of ours that it does not read from there or
 * that the window left out, nothing newer).
 */
export function learn(ours: Known, theirs: Known | undefined, tables: readonly string[]): Known | null {
  if (theirs === undefined || ours.cursor.epoch !== theirs.cursor.epoch) return null;
  if (!ours.tables.every((table) => theirs.tables.includes(table) && tables.includes(table))) return null;
  if (includes(ours.cursor.snapshot, theirs.cursor.snapshot)) return null;
  const snapshot = joinSnapshots(ours.cursor.snapshot, theirs.cursor.snapshot);
  return { tables: ours.tables, cursor: { epoch: ours.cursor.epoch, snapshot } };
}

/**
 * The nodes whose rows need not be sent in a window over `tables` to a receiver with `theirs`, because it has come at least as
 * far as we have in every one of these tables. `ours` must be exact: a node from which we hold rows beyond our position, as
 * during a first copy, is to be left out of it.
 */
export function alreadyKnown(ours: Knowledge, theirs: Knowledge, tables: readonly string[]): string[] {
  return Object.entries(ours)
    .filter(
      ([node, known]) => tables.every((table) => known.tables.includes(table)) && knows(of(theirs, node), held(known)),
    )
    .map(([node]) => node);
}

function held(known: Known): Known {
  const { cursor, reached } = known;
  return reached ? { ...known, cursor: { ...cursor, snapshot: joinSnapshots(cursor.snapshot, reached) } } : known;
}

/** A node may be called `constructor`. */
function of(knowledge: Knowledge, node: string): Known | undefined {
  return Object.hasOwn(knowledge, node) ? knowledge[node] : undefined;
}
