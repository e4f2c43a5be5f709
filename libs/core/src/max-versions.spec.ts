import { type MaxVersions, maxVersionsOf, parseMaxVersions } from './max-versions';

const read = (text: string): MaxVersions => {
  const outcome = parseMaxVersions(text);
  if (!outcome.ok) throw new Error(outcome.problems.join(' '));
  return outcome.maxVersions;
};

const problems = (text: string): string => {
  const outcome = parseMaxVersions(text);
  return outcome.ok ? '' : outcome.problems.join('\n');
};

describe('How many versions are kept', () => {
  it('is one number for all tables', () => {
    expect(maxVersionsOf(read('5'), 'public.orders')).toBe(5);
    expect(maxVersionsOf(read('0'), 'public.orders')).toBe(0);
  });

  it('is another for the tables that are named, in public unless they say', () => {
    const told = read(' 5 , orders=20, "My, Table" = 0, sales.items=3');
    expect(maxVersionsOf(told, 'public.orders')).toBe(20);
    expect(maxVersionsOf(told, 'public.My, Table')).toBe(0);
    expect(maxVersionsOf(told, 'sales.items')).toBe(3);
    expect(maxVersionsOf(told, 'sales.orders')).toBe(5);
  });

  it('is none for the others where only tables are named', () => {
    expect(maxVersionsOf(read('orders=20'), 'public.items')).toBe(0);
  });

  it.each([
    ['-1', /"-1" is not a whole number from 0 to 1000/],
    ['1001', /"1001" is not/],
    ['5, orders=x', /^orders=x: "x" is not a whole number/],
    ['5,', /empty entry/],
    ['"orders=5', /not closed/],
    ['orders=5=6', /more than one "="/],
    ['=5', /is not a table's name/],
    ['or"der"s=5', /is not a table's name/],
    ['orders=5, orders=6', /told twice/],
    ['x, y=z', /^x: .+\ny=z: /],
  ])('cannot be %s', (text, problem) => {
    expect(problems(text)).toMatch(problem);
  });
});
