import { compareVersions, covers, type RowVersion, sameVersion } from './row-version';
import type { Stamp } from './stamp';
import { joinVectors, type Origin, sameVector, type VersionVector } from './version-vector';

/**
 * What a node knows of one row: the set of its concurrent versions, nearly always one (invariant 5). Kept in the order of
 * `compareVersions`, so that equal states are equal values.
 */
export type RowState = readonly RowVersion[];

/**
 * The join of two states: their union less what another version of it covers. Commutative, associative, idempotent. A version that has let
 * go of its siblings on one side (`letGo`) has on the other as well, and so has what was made over it.
 */
export function mergeStates(a: RowState, b: RowState): RowState {
  const union = [...a];
  for (const version of b) {
    const at = union.findIndex((known) => sameVersion(known, version));
    if (at < 0) union.push(version);
    else union[at] = withPastOf(union[at]!, version);
  }
  union.sort(compareVersions);
  inherit(union);
  return union.filter((version) => !union.some((other) => !sameVersion(other, version) && covers(other, version)));
}

/**
 * What a version was made over passes on what it was made over itself: who wrote over one that has let go of its siblings may not have heard of
 * them. Of all others this says nothing new.
 * @param union in the order of `compareVersions`
 */
function inherit(union: RowVersion[]): void {
  for (const [i, version] of union.entries()) {
    const covered = union.slice(0, i).filter((earlier) => covers(version, earlier));
    union[i] = covered.reduce(withPastOf, version);
  }
}

function withPastOf(version: RowVersion, { past }: RowVersion): RowVersion {
  const { [version.origin]: _own, ...joined } = joinVectors(version.past, past);
  return sameVector(version.past, joined) ? version : { ...version, past: joined };
}

/** Whether two states hold the same versions, made over the same. */
export function sameState(a: RowState, b: RowState): boolean {
  const isIn = (version: RowVersion, state: RowState) =>
    state.some((other) => sameVersion(other, version) && sameVector(other.past, version.past));
  return a.length === b.length && a.every((version) => isIn(version, b));
}

/**
 * A row's state without what lost, where the last write stands: it counts as made over all the others from then on, as if its writer had seen
 * them. Unchanged where another was written at the same time as the last.
 */
export function letGo(state: RowState): RowState {
  const last = state.at(-1);
  if (last === undefined || state.length === 1 || state.at(-2)!.stamp >= last.stamp) return state;
  return [{ ...last, past: pastOfWrite(state, last.origin) }];
}

/** The past of a write that `origin` makes over `state`: all that any of its versions had seen, and those versions. */
export function pastOfWrite(state: RowState, origin: Origin): VersionVector {
  let past: VersionVector = {};
  for (const version of state) past = joinVectors(joinVectors(past, version.past), { [version.origin]: version.stamp });
  const { [origin]: _own, ...others } = past;
  return others;
}

/** The highest stamp in a state; a write over it gets a higher one. */
export function highestStamp(state: RowState): Stamp | null {
  return state.reduce<Stamp | null>((high, { stamp }) => (high === null || stamp > high ? stamp : high), null);
}
