import { mergeStates, type RowState } from './row-state';
import { covers, type RowVersion, sameVersion } from './row-version';
import type { Stamp } from './stamp';

/** What a side holds of a row, and of which of its versions the other side has come past. */
export interface Side {
  readonly state: RowState;
  readonly passed: (version: RowVersion) => boolean;
}

/**
 * The join of two states of a row where tombstones have been forgotten (docs/members.md): a version that the other side has come past, and that
 * it neither has nor covers, was deleted there. Where neither has come past the other it is `mergeStates`.
 *
 * A side that has nothing of the row takes deletions that it has forgotten along with a row that is new to it: who has them beside it
 * never hears that they were left out, once others have told it how far that side has come.
 */
export function mergeSides(ours: Side, theirs: Side): RowState {
  return mergeStates(unforgotten(ours, theirs.state), unforgotten(theirs, ours.state));
}

/**
 * What is left of a side's state beside another's, which has forgotten what it came past and neither has nor covers. A row that is new to the
 * other keeps the deletions beside it: without them it could stand although it had lost to one.
 */
export function unforgotten({ state, passed }: Side, other: RowState): RowState {
  const isNew = other.length === 0 && state.some((version) => !version.deleted && !passed(version));
  if (isNew) return state.filter((version) => version.deleted || !passed(version));
  const isThere = (version: RowVersion) => other.some((one) => sameVersion(one, version) || covers(one, version));
  return state.filter((version) => isThere(version) || !passed(version));
}

/**
 * The deletion that must have been made meanwhile of a row that was written over while nobody heard of it: as late as what that write had
 * seen of others, so that the write stands; concurrent with it. Null where it shows nothing that others had written.
 * @param origin a name under which nothing else is written
 */
export function presumedDeletion(version: RowVersion, origin: string): RowVersion | null {
  const stamps = Object.values(version.past) as Stamp[];
  if (stamps.length === 0 || version.deleted) return null;
  const stamp = Math.max(...stamps) + 1;
  const { past } = version;
  return { stamp, origin, priority: -(2 ** 20), past, deleted: true, image: null };
}
