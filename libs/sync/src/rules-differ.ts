import { differencesOf, parseRules, type RuleEntry, type Rules } from '@pgmesh/core';
import type { RulesDiffer } from './status';

/** Where a peer's rules, as it tells them, differ from ours. Rules that cannot be read are of a later release, and differ everywhere. */
export function rulesDiffer(ours: Rules, told: string): RulesDiffer[] {
  const theirs = parseRules(told);
  if (!theirs.ok) return [{ table: null, prefix: null, ours: decision(ours[0]), theirs: told.slice(0, 200) }];
  return differencesOf(ours, theirs.rules).map((difference) => ({
    table: difference.table,
    prefix: difference.prefix,
    ours: decision(difference.ours),
    theirs: decision(difference.theirs),
  }));
}

function decision({ strategy, resolver }: RuleEntry): string {
  return resolver === null ? strategy : `${strategy}(${resolver})`;
}
