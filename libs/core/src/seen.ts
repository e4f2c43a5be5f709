import type { Known, Knowledge } from './knowledge';
import { feedName } from './knowledge';
import { joinSnapshots, type Snapshot } from './snapshot';

/**
 * Of each origin (`feedName`) the transactions of which a node holds every write, or what covers it: all that the origin itself wrote
 * as of the snapshot, not what it held of others. A row of one version names its origin and the origin's transaction, so that
 * whether a reader has it is told row by row, whichever way it came to either. Knowing too little of it costs rows, never data.
 */
export type Seen = Readonly<Record<string, Snapshot>>;

/** What follows from having read feeds themselves, where that was over all of these tables. Of a copy under way nothing does. */
export function seenOf(knowledge: Knowledge, tables: readonly string[]): Seen {
  const whole = Object.entries(knowledge).filter(([, known]) => isOver(known, tables));
  return Object.fromEntries(
    whole.map(([node, { cursor }]): [string, Snapshot] => [feedName(node, cursor.epoch), cursor.snapshot]),
  );
}

export function joinSeen(a: Seen, b: Seen): Seen {
  const joined: Record<string, Snapshot> = { ...a };
  for (const [origin, snapshot] of Object.entries(b)) {
    const before = Object.hasOwn(joined, origin) ? joined[origin] : undefined;
    joined[origin] = before ? joinSnapshots(before, snapshot) : snapshot;
  }
  return joined;
}

function isOver({ tables: read }: Known, tables: readonly string[]): boolean {
  return tables.every((table) => read.includes(table));
}
