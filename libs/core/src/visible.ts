import type { Fields } from './field-stamps';
import { mergeFields } from './merge-fields';
import { describeFailure, type Resolver, type ResolverFailure, type RowKey, resolve } from './resolver';
import type { RowState } from './row-state';
import { compareVersions, type RowImage, type RowVersion } from './row-version';
import type { StrategyName } from './rules';
import { firstWriteWins, lastWriteWins, nodePriority } from './strategy';

/** How the conflicts of a row are decided: the strategy, and what it needs to know. */
export interface Rule {
  readonly strategy: StrategyName;
  /** For `custom`; without one, a conflict stays open. */
  readonly resolver?: Resolver;
  /** The names of the primary key's columns, in its order. */
  readonly keyColumns: readonly string[];
  /** The columns of type jsonb, whose objects `merge-fields` merges by their keys. */
  readonly jsonb: ReadonlySet<string>;
}

/** Why a conflict waits for somebody's decision. */
export type OpenReason =
  | { readonly kind: 'manual' }
  | { readonly kind: 'resolver'; readonly failure: ResolverFailure }
  /** The database did not take the row that the rule makes: a constraint or a type forbids it. */
  | { readonly kind: 'refused'; readonly message: string };

/** The reason as a sentence. */
export function describeOpen(open: OpenReason): string {
  switch (open.kind) {
    case 'manual':
      return 'The rule leaves the decision to people.';
    case 'resolver':
      return describeFailure(open.failure);
    case 'refused':
      return `The table does not take the row that the rule makes: ${open.message}.`;
  }
}

/** What a set of versions comes to: a pure function of the set and the rule. */
export interface Visible {
  /** The row in the table; null when there is none. */
  readonly image: RowImage | null;
  /** The version under whose (stamp, origin) the row stands: the winner, or of a composed row the highest. */
  readonly main: RowVersion;
  /** The field stamps of `image` where they differ from `main`'s; what a write over the row goes by. */
  readonly fields: Fields | null;
  /** Whether `image` or `fields` is not `main`'s own: then `main` has to be kept whole beside the table, as its siblings are. */
  readonly composed: boolean;
  /** What decided: the rule's strategy, or `last-write-wins` while the conflict is open. */
  readonly decidedBy: StrategyName;
  readonly open: OpenReason | null;
}

/**
 * The row that stands for a set of versions, the same on every node that has the set and the rule (invariant 5). It never goes
 * by what stood before: when a rule changes, the open sets are shown anew by it, and no version changes.
 */
export function visible(state: RowState, rule: Rule, key: RowKey): Visible {
  if (state.length === 1) return chosen(state[0]!, rule.strategy);
  switch (rule.strategy) {
    case 'last-write-wins':
      return chosen(lastWriteWins(state), rule.strategy);
    case 'first-write-wins':
      return chosen(firstWriteWins(state), rule.strategy);
    case 'node-priority':
      return chosen(nodePriority(state), rule.strategy);
    case 'manual':
      return leftOpen(state, { kind: 'manual' });
    case 'merge-fields':
      return merged(state, rule);
    case 'custom':
      return resolved(state, rule, key);
  }
}

/** The set as it stands while somebody has to decide; also for a resolver that was run elsewhere and did not answer. */
export function leftOpen(state: RowState, open: OpenReason): Visible {
  return { ...chosen(lastWriteWins(state), 'last-write-wins'), open };
}

function chosen(main: RowVersion, decidedBy: StrategyName): Visible {
  return { image: main.image, main, fields: main.fields ?? null, composed: false, decidedBy, open: null };
}

function merged(state: RowState, { jsonb, strategy }: Rule): Visible {
  const { image, main, fields } = mergeFields(state, jsonb);
  const composed = !sameImage(image, main.image) || !sameFields(fields, main.fields ?? null);
  return { image, main, fields, composed, decidedBy: strategy, open: null };
}

function resolved(state: RowState, { resolver, keyColumns, strategy }: Rule, key: RowKey): Visible {
  // Nobody needs to be asked whether a row that all have deleted is deleted.
  if (state.every(({ image }) => image === null)) return chosen(lastWriteWins(state), strategy);
  if (resolver === undefined) return leftOpen(state, { kind: 'resolver', failure: { kind: 'no_resolver' } });
  const answer = resolve([...state].sort(compareVersions), resolver, key, keyColumns);
  if (!answer.ok) return leftOpen(state, { kind: 'resolver', failure: answer.failure });
  const { image } = answer;
  const alike = state.filter((version) => (version.image === null) === (image === null));
  const main = lastWriteWins(alike.length > 0 ? alike : state);
  const composed = !sameImage(image, main.image);
  return { image, main, fields: composed ? null : (main.fields ?? null), composed, decidedBy: strategy, open: null };
}

/** Whether two images are the same row: the same columns with the same texts. */
export function sameImage(a: RowImage | null, b: RowImage | null): boolean {
  if (a === null || b === null) return a === b;
  const columns = Object.keys(a);
  return (
    columns.length === Object.keys(b).length &&
    columns.every((column) => Object.hasOwn(b, column) && a[column] === b[column])
  );
}

/** Whether two sets of field stamps say the same. */
export function sameFields(a: Fields | null, b: Fields | null): boolean {
  return sameData(a, b);
}

function sameData(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && sameData(a[name as keyof typeof a], b[name as keyof typeof b]))
  );
}
