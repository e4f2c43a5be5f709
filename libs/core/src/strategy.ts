import { compareVersions, type RowVersion } from './row-version';
import type { RowState } from './row-state';

/** Chooses what stands in the table: a pure function of the set, whatever the order in which its versions arrived. */
export type Strategy = (state: RowState) => RowVersion;

/** The highest (stamp, origin) stands. */
export const lastWriteWins: Strategy = (state) => {
  const [first, ...rest] = state;
  if (first === undefined) throw new RangeError('A row state has at least one version');
  return rest.reduce((best, version) => (compareVersions(version, best) > 0 ? version : best), first);
};
