import { compareVersions, covers, type RowVersion, sameVersion } from './row-version';
import type { Stamp } from './stamp';
import { joinVectors, type Origin, type VersionVector } from './version-vector';

/**
 * What a node knows of one row: the set of its concurrent versions, nearly always one (invariant 5). Kept in the order of
 * `compareVersions`, so that equal states are equal values.
 */
export type RowState = readonly RowVersion[];

/** The join of two states: their union less what another version of it covers. Commutative, associative, idempotent. */
export function mergeStates(a: RowState, b: RowState): RowState {
  const union = [...a];
  for (const version of b) {
    if (!union.some((known) => sameVersion(known, version))) union.push(version);
  }
  return union
    .filter((version) => !union.some((other) => !sameVersion(other, version) && covers(other, version)))
    .sort(compareVersions);
}

/** Whether two states hold the same versions. */
export function sameState(a: RowState, b: RowState): boolean {
  return a.length === b.length && a.every((version) => b.some((other) => sameVersion(other, version)));
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
