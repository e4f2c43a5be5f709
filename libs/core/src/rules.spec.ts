import * as fc from 'fast-check';
import {
  defaultRules,
  differencesOf,
  isOldestFirst,
  keepsFields,
  type Rules,
  ruleFor,
  rulesOf,
  strategyNames,
} from './rules';
import { formatRules, parseRules, rulesDigest } from './rules-text';

function rules(text: string): Rules {
  const outcome = parseRules(text);
  if (!outcome.ok) throw new Error(outcome.problems.join('\n'));
  return outcome.rules;
}

function problems(text: string): readonly string[] {
  const outcome = parseRules(text);
  return outcome.ok ? [] : outcome.problems;
}

describe('Rules', () => {
  it('decide by the longest prefix, then the table, then what is for everything', () => {
    const some = rules(
      'manual, orders=node-priority, orders:eu/=merge-fields, orders:eu/de/=first-write-wins, s.t=custom',
    );
    const strategy = (table: string, ...key: string[]) => ruleFor(some, table, key).strategy;
    expect(strategy('public.orders', 'us', '7')).toBe('node-priority');
    expect(strategy('public.orders', 'eu', 'fr', '7')).toBe('merge-fields');
    expect(strategy('public.orders', 'eu/de/7')).toBe('first-write-wins');
    expect(strategy('public.orders', 'eu')).toBe('node-priority');
    expect(strategy('public.other', 'eu/')).toBe('manual');
    expect(ruleFor(some, 's.t', ['1'])).toMatchObject({ strategy: 'custom', resolver: 'default' });
    expect(ruleFor(defaultRules, 'x.y', ['1']).strategy).toBe('last-write-wins');
  });

  it('are last-write-wins when nothing is said', () => {
    expect(rules('')).toEqual(defaultRules);
    expect(rules('orders=manual')[0].strategy).toBe('last-write-wins');
  });

  it('of one meaning have one text', () => {
    const one = 'manual, public.a:x=merge-fields, public.b=custom(sum)';
    for (const text of [
      one,
      ' b = custom(sum),manual, a:x=merge-fields',
      `${one}, c=manual, a:xy=merge-fields, a:y=manual`,
    ]) {
      expect(formatRules(rules(text))).toBe(one);
      expect(rulesDigest(rules(text))).toBe(rulesDigest(rules(one)));
    }
    expect(formatRules(rules('custom(default)'))).toBe('custom');
    expect(rulesDigest(rules('manual'))).toMatch(/^[0-9a-f]{16}$/);
    expect(rulesDigest(rules('manual'))).not.toBe(rulesDigest(defaultRules));
  });

  it('come back from their text, whatever tables and prefixes are called', () => {
    const name = fc.string({
      minLength: 1,
      maxLength: 6,
      unit: fc.constantFrom('a', '.', ',', '=', ':', '"', ' ', '(', 'é'),
    });
    const entry = fc.record({
      table: name,
      prefix: fc.option(name),
      strategy: fc.constantFrom(...strategyNames),
    });
    fc.assert(
      fc.property(
        fc.uniqueArray(entry, { selector: ({ table, prefix }) => JSON.stringify([table, prefix]) }),
        (entries) => {
          const outcome = rulesOf(entries);
          if (!outcome.ok) return expect(outcome.problems.every((text) => text.includes('told twice'))).toBe(true);
          expect(parseRules(formatRules(outcome.rules))).toEqual(outcome);
          const decided = (table: string, key: string) => ruleFor(outcome.rules, table, [key]).strategy;
          for (const { table, prefix, strategy } of entries)
            expect(decided(table.includes('.') ? table : `public.${table}`, prefix ?? '')).toBe(strategy);
        },
      ),
    );
  });

  it.each([
    ['latest', /no strategy "latest".*last-write-wins/],
    ['manual, merge-fields', /told twice/],
    ['a=manual, public.a=custom', /told twice/],
    ['a=b=manual', /more than one "="/],
    ['a:b:c=manual', /neither a table nor table:prefix/],
    ['a:=manual', /prefix is empty/],
    [':a=manual', /name of the table is missing/],
    ['manual,,a=manual', /empty entry/],
    ['a"b=manual', /not closed/],
    ['a"b"=manual', /neither a table/],
    ['a=manual(x)', /only the strategy custom/],
    ['a=custom(x y)', /cannot name a resolver/],
    ['a=custom(x', /is not a strategy/],
  ])('written as %s are refused with what is wrong', (text, problem) => {
    expect(problems(text).join('\n')).toMatch(problem);
  });

  it('tell every problem, not only the first', () => {
    expect(problems('latest, a=newest')).toHaveLength(2);
    expect(problems('a:x\0=manual, b\ud800=manual')).toHaveLength(2);
    expect(rulesOf([{ strategy: 'manual', prefix: 'x' }])).toMatchObject({ ok: false, problems: [/needs a table/] });
  });

  it('of two nodes are compared by what they decide', () => {
    expect(differencesOf(rules('manual'), rules('manual, a=manual'))).toEqual([]);
    const found = differencesOf(rules('manual, a=merge-fields'), rules('a:x=custom'));
    expect(found.map(({ table, prefix, ours, theirs }) => [table, prefix, ours.strategy, theirs.strategy])).toEqual([
      [null, null, 'manual', 'last-write-wins'],
      ['public.a', null, 'merge-fields', 'last-write-wins'],
      ['public.a', 'x', 'merge-fields', 'custom'],
    ]);
    expect(differencesOf(rules('custom(a)'), rules('custom(b)'))).toHaveLength(1);
  });

  it('say which tables need field stamps', () => {
    const some = rules('merge-fields, a=manual, b=manual, b:x=merge-fields');
    expect(['public.a', 'public.b', 'public.c'].map((table) => keepsFields(some, table))).toEqual([false, true, true]);
    expect(keepsFields(defaultRules, 'public.a')).toBe(false);
  });

  it('say of which tables the older of two rows stands: by what is for the whole table', () => {
    const some = rules('first-write-wins, a=manual, a:x=first-write-wins, b:x=manual');
    expect(['public.a', 'public.b', 'public.c'].map((table) => isOldestFirst(some, table))).toEqual([
      false,
      true,
      true,
    ]);
    expect(isOldestFirst(defaultRules, 'public.a')).toBe(false);
  });
});
