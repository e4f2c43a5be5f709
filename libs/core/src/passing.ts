import type { Knowledge } from './knowledge';
import type { Member } from './members';
import { beginning, includes, meetSnapshots, type Snapshot } from './snapshot';

interface Self {
  readonly nodeId: string;
  readonly epoch: string;
}

/** How far all have come in our feed, and those who have not come to where we are. */
export interface Passing {
  readonly snapshot: Snapshot;
  readonly heldUpBy: readonly string[];
}

/** Whether a member is waited for before what was deleted in the table is forgotten. */
function counts({ nodeId, evicted, tables }: Member, self: Self, table: string): boolean {
  return nodeId !== self.nodeId && evicted === null && tables.includes(table);
}

/**
 * How far a member has come in our feed, as far as that may be acted upon: we have to have come in its feed to where it claimed it, so
 * that what it had written before it came past ours is here. Null while it has not claimed anything that holds.
 */
export function passedBy(self: Self, member: Member, ours: Knowledge, table: string): Snapshot | null {
  const { nodeId, epoch, claim } = member;
  if (claim === null) return null;
  const theirs = Object.hasOwn(claim.known, self.nodeId) ? claim.known[self.nodeId] : undefined;
  if (theirs?.cursor.epoch !== self.epoch || !theirs.tables.includes(table)) return null;
  const known = Object.hasOwn(ours, nodeId) ? ours[nodeId] : undefined;
  if (known?.cursor.epoch !== epoch || !known.tables.includes(table)) return null;
  return includes(known.cursor.snapshot, claim.snapshot) ? theirs.cursor.snapshot : null;
}

/** Those that are waited for, and have not said that the last write settles every conflict of the table there. */
export function otherRules(self: Self, members: readonly Member[], table: string): string[] {
  const settles = ({ claim }: Member) => claim?.keeps?.includes(table) === false;
  return members.filter((member) => counts(member, self, table) && !settles(member)).map(({ nodeId }) => nodeId);
}

/** The part of our feed, as of `present`, that every member that is waited for has come past (docs/members.md). */
export function passedByAll(
  self: Self,
  members: readonly Member[],
  ours: Knowledge,
  table: string,
  present: Snapshot,
): Passing {
  let snapshot = present;
  const heldUpBy: string[] = [];
  for (const member of members) {
    if (!counts(member, self, table)) continue;
    const passed = passedBy(self, member, ours, table) ?? beginning;
    if (!includes(passed, snapshot)) heldUpBy.push(member.nodeId);
    snapshot = meetSnapshots(snapshot, passed);
  }
  return { snapshot, heldUpBy };
}
