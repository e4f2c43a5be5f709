import { textDigest } from './digest';
import { splitOutsideQuotes, unquote } from './quoted-names';
import { type RuleEntry, type RuleInput, type Rules, type RulesOutcome, rulesOf } from './rules';

/** Characters that the text of rules may have, so that peers take it in a greeting. */
export const longestRules = 100_000;

/**
 * The rules as one line, in a setting and between peers:
 *
 *     merge-fields, orders=last-write-wins, documents:settings/=node-priority, stock=custom(sum)
 *
 * Entries stand between commas: a strategy for everything, `table=strategy`, `table:prefix=strategy`. A table or prefix with a
 * sign of the syntax in it, or with space at its ends, is put into double quotes, which are doubled inside.
 */
export function parseRules(text: string): RulesOutcome {
  const problems: string[] = [];
  const inputs: RuleInput[] = [];
  for (const part of splitOutsideQuotes(text, ',')) {
    if (part.trim() === '' && text.trim() !== '')
      problems.push('There is an empty entry: two commas, or one at an end.');
    if (part.trim() === '') continue;
    const input = parseEntry(part.trim());
    if (typeof input === 'string') problems.push(input);
    else inputs.push(input);
  }
  if (problems.length > 0) return { ok: false, problems };
  return rulesOf(inputs);
}

function parseEntry(part: string): RuleInput | string {
  if (part.split('"').length % 2 === 0) return `${part}: a double quote is not closed.`;
  const sides = splitOutsideQuotes(part, '=');
  if (sides.length > 2) return `${part}: more than one "=". Put a name or prefix that contains one into double quotes.`;
  const decision = /^([^()]*?)(?:\(([^()]*)\))?$/.exec(sides.at(-1)!.trim());
  if (decision === null)
    return `${part}: "${sides.at(-1)!.trim()}" is not a strategy. A resolver is named so: custom(name).`;
  const [, strategy = '', resolver = null] = decision;
  if (sides.length === 1) return { strategy, resolver };
  const names = splitOutsideQuotes(sides[0]!, ':').map((name) => unquote(name.trim()));
  if (names.length > 2 || names.includes(null))
    return `${part}: "${sides[0]!.trim()}" is neither a table nor table:prefix. Put names with signs into double quotes.`;
  const [table, prefix = null] = names;
  return { table, prefix, strategy, resolver };
}

/** The one text of rules of one meaning; `parseRules` reads it. */
export function formatRules(rules: Rules): string {
  return rules.map(formatEntry).join(', ');
}

function formatEntry({ table, prefix, strategy, resolver }: RuleEntry): string {
  const decision = resolver === null || resolver === 'default' ? strategy : `${strategy}(${resolver})`;
  if (table === null) return decision;
  return `${quote(table)}${prefix === null ? '' : `:${quote(prefix)}`}=${decision}`;
}

/** A short name of the rules, for a glance at whether two nodes have the same. */
export function rulesDigest(rules: Rules): string {
  return textDigest(formatRules(rules));
}

function quote(name: string): string {
  return /^[^\s,=:"][^,=:"]*$/.test(name) && name.trim() === name ? name : `"${name.replaceAll('"', '""')}"`;
}
