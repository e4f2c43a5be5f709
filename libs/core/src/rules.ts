import type { RowKey } from './resolver';

export const strategyNames = [
  'last-write-wins',
  'first-write-wins',
  'node-priority',
  'merge-fields',
  'custom',
  'manual',
] as const;

export type StrategyName = (typeof strategyNames)[number];

/** One line of the rules: for everything, for a table, or for the rows of a table whose key begins so. */
export interface RuleEntry {
  /** `schema.table`; null for all tables. */
  readonly table: string | null;
  /** What the key's text begins with; null for the whole table. */
  readonly prefix: string | null;
  readonly strategy: StrategyName;
  /** For `custom`: the name under which the resolver is registered, on every node the same. */
  readonly resolver: string | null;
}

/**
 * How conflicts are decided, row by row: the longest prefix wins, then the table's own entry, then the first, which is for
 * everything. In one form alone: sorted, and without entries that change nothing, so that rules of one meaning are equal.
 */
export type Rules = readonly [RuleEntry, ...RuleEntry[]];

/** An entry as somebody wrote it, in a setting, a request or a program. */
export interface RuleInput {
  readonly table?: string | null;
  readonly prefix?: string | null;
  readonly strategy: string;
  readonly resolver?: string | null;
}

export type RulesOutcome =
  { readonly ok: true; readonly rules: Rules } | { readonly ok: false; readonly problems: readonly string[] };

const everywhere: RuleEntry = { table: null, prefix: null, strategy: 'last-write-wins', resolver: null };

/** The rules of a node that was told nothing. */
export const defaultRules: Rules = [everywhere];

/** Checks entries and brings them into their one form; every problem is told, not only the first. */
export function rulesOf(inputs: readonly RuleInput[]): RulesOutcome {
  const problems: string[] = [];
  const entries = new Map<string, RuleEntry>();
  for (const input of inputs) {
    const problem = problemOf(input);
    if (problem !== null) {
      problems.push(`${describeInput(input)}: ${problem}`);
      continue;
    }
    const entry = normal(input);
    const place = JSON.stringify([entry.table, entry.prefix]);
    const before = entries.get(place);
    if (before && !sameDecision(before, entry))
      problems.push(`${describeInput(input)}: told twice, in different ways.`);
    entries.set(place, entry);
  }
  if (problems.length > 0) return { ok: false, problems };
  const sorted = [...entries.values()].sort(compareEntries);
  const first = sorted[0]?.table === null ? sorted.shift()! : everywhere;
  let rules: Rules = [first];
  // Shorter prefixes come first: an entry is needed when it decides otherwise than what is there without it.
  for (const entry of sorted) {
    if (!sameDecision(entry, lookUp(rules, entry.table!, entry.prefix ?? ''))) rules = [...rules, entry];
  }
  return { ok: true, rules };
}

function problemOf({ table, prefix, strategy, resolver }: RuleInput): string | null {
  if (!strategyNames.some((name) => name === strategy))
    return `there is no strategy "${strategy}". Take one of ${strategyNames.join(', ')}.`;
  if (/[\0\p{Surrogate}]/u.test(`${table ?? ''}${prefix ?? ''}`))
    return 'a name or prefix has a character that no text in PostgreSQL has.';
  if (table === '') return 'the name of the table is missing.';
  if (prefix === '') return 'the prefix is empty. Leave it out to speak of the whole table.';
  if (prefix != null && table == null) return 'a prefix needs a table: table:prefix=strategy.';
  if (resolver != null && strategy !== 'custom') return 'only the strategy custom takes a resolver.';
  if (resolver != null && !/^[\w.-]{1,100}$/.test(resolver))
    return `"${resolver}" cannot name a resolver. Use letters, digits, dots, hyphens and underscores.`;
  return null;
}

function normal({ table, prefix, strategy, resolver }: RuleInput): RuleEntry {
  const qualified = table == null || table.includes('.') ? (table ?? null) : `public.${table}`;
  const named = strategy === 'custom' ? (resolver ?? 'default') : null;
  return { table: qualified, prefix: prefix ?? null, strategy: strategy as StrategyName, resolver: named };
}

function describeInput({ table, prefix, strategy }: RuleInput): string {
  return `${table ?? ''}${prefix != null ? `:${prefix}` : ''}${table != null || prefix != null ? '=' : ''}${strategy}`;
}

/** The entry that decides a row's conflicts. */
export function ruleFor(rules: Rules, table: string, key: RowKey): RuleEntry {
  return lookUp(rules, table, keyText(key));
}

/** What prefixes are compared with: the key's values, joined by slashes. */
export function keyText(key: RowKey): string {
  return key.join('/');
}

function lookUp(rules: Rules, table: string, text: string): RuleEntry {
  let best = rules[0];
  for (const entry of rules) {
    if (entry.table !== table || !text.startsWith(entry.prefix ?? '')) continue;
    if (best.table === null || (entry.prefix?.length ?? 0) >= (best.prefix?.length ?? 0)) best = entry;
  }
  return best;
}

/** Whether writes to a table need field stamps: some of its rows are merged by field. */
export function keepsFields(rules: Rules, table: string): boolean {
  const own = rules.filter((entry) => entry.table === table);
  return [wholeTable(rules, table), ...own].some(({ strategy }) => strategy === 'merge-fields');
}

/**
 * Whether of two rows of a table that cannot stand beside each other the older stands, rather than the one that was written last: where
 * the first write wins in the whole table. What is said of prefixes speaks of single rows, and rows of one key may have any.
 */
export function isOldestFirst(rules: Rules, table: string): boolean {
  return wholeTable(rules, table).strategy === 'first-write-wins';
}

/** Whether the last write stands in every row of a table. */
export function isLastWriteOnly(rules: Rules, table: string): boolean {
  const entries = [wholeTable(rules, table), ...rules.filter((entry) => entry.table === table)];
  return entries.every(({ strategy }) => strategy === 'last-write-wins');
}

function wholeTable(rules: Rules, table: string): RuleEntry {
  return rules.find((entry) => entry.table === table && entry.prefix === null) ?? rules[0];
}

/** A place where two nodes decide differently, by what each has there. */
export interface RuleDifference {
  readonly table: string | null;
  readonly prefix: string | null;
  readonly ours: RuleEntry;
  readonly theirs: RuleEntry;
}

/** Where two nodes' rules differ. A mesh with a difference does not converge there, and has to say so. */
export function differencesOf(ours: Rules, theirs: Rules): RuleDifference[] {
  const places = rulesPlaces([...ours, ...theirs]);
  return places.flatMap(({ table, prefix }) => {
    const at = (rules: Rules) => (table === null ? rules[0] : lookUp(rules, table, prefix ?? ''));
    const [a, b] = [at(ours), at(theirs)];
    return sameDecision(a, b) ? [] : [{ table, prefix, ours: a, theirs: b }];
  });
}

function rulesPlaces(entries: readonly RuleEntry[]): RuleEntry[] {
  const places = new Map(entries.map((entry) => [JSON.stringify([entry.table, entry.prefix]), entry]));
  return [...places.values()].sort(compareEntries);
}

function sameDecision(a: RuleEntry, b: RuleEntry): boolean {
  return a.strategy === b.strategy && a.resolver === b.resolver;
}

/** What is for all first, then by table; of a table, what contains another comes before it. */
function compareEntries(a: RuleEntry, b: RuleEntry): number {
  return compareTexts(a.table ?? '', b.table ?? '') || compareTexts(a.prefix ?? '', b.prefix ?? '');
}

function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
