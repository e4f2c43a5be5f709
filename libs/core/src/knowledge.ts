import { type Cursor } from './cursor';
import { isLaterIncarnation } from './incarnation';
import { leavingRest, type Position } from './position';
import { beginning, includes, joinSnapshots, sameSnapshot, type Snapshot } from './snapshot';

/** How far a node has come in another node's feed: up to where all that was there is with it (Position: complete), and over which tables that holds. */
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
 * Our position in a third node's feed after merging a complete window whose sender stood at `theirs` there; null when that gives us
 * nothing. Having merged it we hold all that the sender held, and so all of the third node's that it knew to hold: a feed
 * that we never read has a position from then on, too.
 *
 * Two incarnations are two feeds, which are never mixed: the later one's position takes the place of the earlier one's. But while we
 * are in touch with the earlier one itself, what we read there is worth more than what we hear: a copy of its database would
 * make us begin anew, over and over.
 *
 * @param tables those in which we hold all that the sender held: which the window covered, and which we follow in its feed
 * @param inTouch under which incarnation that node talks to us just now
 */
export function learn(
  ours: Position | null,
  theirs: Known,
  tables: readonly string[],
  inTouch: string | null = null,
): Position | null {
  const { epoch, snapshot } = theirs.cursor;
  const covered = theirs.tables.filter((table) => tables.includes(table)).sort();
  if (covered.length === 0) return null;
  if (ours?.epoch !== epoch) {
    if (ours && (ours.epoch === inTouch || !isLaterIncarnation(epoch, ours.epoch))) return null;
    return { epoch, tables: covered, snapshot, complete: snapshot, reached: beginning, copy: null };
  }
  if (!ours.tables.every((table) => covered.includes(table))) return null;
  if (ours.tables.length === 0 || includes(snapshot, ours.snapshot)) return reachedBy(ours, covered, snapshot);
  if (includes(ours.complete, snapshot)) return null;
  const complete = joinSnapshots(ours.complete, snapshot);
  return { ...ours, snapshot: joinSnapshots(ours.snapshot, snapshot), complete };
}

/** Where others have come at least as far as we have in all our tables, we are where they are, over all of theirs: a copy has ended. */
function reachedBy(ours: Position, covered: readonly string[], snapshot: Snapshot): Position | null {
  const copied = ours.copy?.tables ?? [];
  const isCopied = copied.every((table) => covered.includes(table));
  const tables = isCopied ? covered : covered.filter((table) => !copied.includes(table));
  if (tables.length === ours.tables.length && sameSnapshot(snapshot, ours.complete)) return null;
  return leavingRest({ ...ours, tables, snapshot, complete: snapshot, copy: isCopied ? null : ours.copy });
}

/**
 * The nodes whose rows need not be sent in a window over `tables` to a receiver with `theirs`, because it has come at least as
 * far as we have in every one of these tables. `ours` must be exact: a node from which we hold rows beyond our position, as
 * during a first copy, is to be left out of it.
 */
export function alreadyKnown(ours: Knowledge, theirs: Knowledge, tables: readonly string[]): string[] {
  return Object.entries(ours)
    .filter(
      ([node, known]) =>
        tables.every((table) => known.tables.includes(table)) && knows(of(theirs, node), brought(known)),
    )
    .map(([node]) => node);
}

/** Up to where rows have come to us by way of that feed itself: what we learned beyond it came by others, under their names. */
function brought(known: Known): Known {
  const { cursor, reached } = known;
  return reached ? { ...known, cursor: { ...cursor, snapshot: reached } } : known;
}

/** A node may be called `constructor`. */
function of(knowledge: Knowledge, node: string): Known | undefined {
  return Object.hasOwn(knowledge, node) ? knowledge[node] : undefined;
}
