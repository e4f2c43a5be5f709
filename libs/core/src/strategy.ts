import { compareVersions, type RowVersion } from './row-version';
import type { RowState } from './row-state';

/** Chooses what stands in the table: a pure function of the set, whatever the order in which its versions arrived. */
export type Strategy = (state: RowState) => RowVersion;

/** The highest (stamp, origin) stands. */
export const lastWriteWins: Strategy = (state) => highest(state, compareVersions);

/** The lowest (stamp, origin) stands: of what was written without knowledge of each other, the first. */
export const firstWriteWins: Strategy = (state) => highest(state, (a, b) => compareVersions(b, a));

/** The highest (priority, stamp, origin) stands; the priority is what the writer had when it wrote. */
export const nodePriority: Strategy = (state) =>
  highest(state, (a, b) => a.priority - b.priority || compareVersions(a, b));

function highest(state: RowState, compare: (a: RowVersion, b: RowVersion) => number): RowVersion {
  const [first, ...rest] = state;
  if (first === undefined) throw new RangeError('A row state has at least one version');
  return rest.reduce((best, version) => (compare(version, best) > 0 ? version : best), first);
}
