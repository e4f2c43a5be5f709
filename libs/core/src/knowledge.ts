import { type Cursor } from './cursor';
import { includes, joinSnapshots } from './snapshot';

/** How far a node has come in another node's feed, and over which tables that holds. */
export interface Known {
  readonly cursor: Cursor;
  readonly tables: readonly string[];
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
 * Our position in a third node's feed after merging a window whose sender stood at `theirs`: moved forward, or null when the
 * sender's knowledge gives us nothing (another incarnation, a table of ours that it does not read from there, nothing newer).
 */
export function learn(ours: Known, theirs: Known | undefined): Known | null {
  if (theirs === undefined || ours.cursor.epoch !== theirs.cursor.epoch) return null;
  if (!ours.tables.every((table) => theirs.tables.includes(table))) return null;
  if (includes(ours.cursor.snapshot, theirs.cursor.snapshot)) return null;
  const snapshot = joinSnapshots(ours.cursor.snapshot, theirs.cursor.snapshot);
  return { tables: ours.tables, cursor: { epoch: ours.cursor.epoch, snapshot } };
}

/** The nodes whose rows need not be sent to a receiver with `theirs`, because it has come at least as far as we have. */
export function alreadyKnown(ours: Knowledge, theirs: Knowledge): string[] {
  return Object.entries(ours)
    .filter(([node, known]) => knows(theirs[node], known))
    .map(([node]) => node);
}
