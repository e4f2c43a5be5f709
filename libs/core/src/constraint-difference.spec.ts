import * as fc from 'fast-check';
import { constraintDifference, constraintsDigest, constraintsOf } from './constraint-difference';
import { essence } from './definition';

const definitions = [
  'UNIQUE (mail)',
  'UNIQUE (mail) NULLS NOT DISTINCT',
  'UNIQUE (lower(mail)) WHERE (n > 1)',
  'EXCLUDE USING gist (int4range(n, m) WITH &&)',
  'CHECK ((n > 0))',
  'CHECK (((n > 0) OR (m > 0)))',
  `CHECK ((name <> ' (x)::text'::text))`,
  'FOREIGN KEY (a, b) REFERENCES public.p (x, y)',
  'NOT NULL n',
  'CHECK ((VALUE > 0)) IN THE DOMAIN OF n',
  `UNIQUE (name) ON PARTITION FOR VALUES IN ('eu')`,
];
const some = fc.uniqueArray(fc.constantFrom(...definitions));
const between = (ours: readonly string[], theirs: readonly string[]) =>
  constraintDifference('public.t', { node: 'a', definitions: ours }, { node: 'b', definitions: theirs });

describe('The constraints of a table on two nodes', () => {
  it('differ where the digests do, and nowhere else', () => {
    fc.assert(
      fc.property(some, some, (ours, theirs) => {
        expect(between(ours, theirs) === null).toBe(constraintsDigest(ours) === constraintsDigest(theirs));
      }),
    );
  });

  it('are the same in whatever order, and however often they are said', () => {
    fc.assert(
      fc.property(some, some, (all, twice) => {
        const again = [...all, ...twice.filter((one) => all.includes(one))].reverse();
        expect(between(all, again)).toBeNull();
        expect(constraintsOf(again)).toEqual(constraintsOf(all));
      }),
    );
  });

  it('differ by what only one has, which both are told alike', () => {
    fc.assert(
      fc.property(some, some, (ours, theirs) => {
        const [found, mirrored] = [between(ours, theirs), between(theirs, ours)];
        expect(found?.ours ?? []).toEqual(ours.filter((one) => !theirs.includes(one)).sort());
        expect(mirrored && [mirrored.ours, mirrored.theirs]).toEqual(found && [found.theirs, found.ours]);
      }),
    );
  });

  it.each([
    ['UNIQUE (mail)', 'On b: ALTER TABLE public.t ADD UNIQUE (mail);'],
    ['UNIQUE (a, "B c") NULLS NOT DISTINCT', 'On b: ALTER TABLE public.t ADD UNIQUE NULLS NOT DISTINCT (a, "B c");'],
    ['UNIQUE (lower(mail)) WHERE (n > 1)', 'On b: CREATE UNIQUE INDEX ON public.t (lower(mail)) WHERE (n > 1);'],
    ['CHECK ((n > 0))', 'On b: ALTER TABLE public.t ADD CHECK ((n > 0));'],
    ['NOT NULL n', 'On b: ALTER TABLE public.t ALTER COLUMN n SET NOT NULL;'],
    ['CHECK ((VALUE > 0)) IN THE DOMAIN OF n', 'On b, add CHECK ((VALUE > 0)) IN THE DOMAIN OF n.'],
  ])('say what to run where %s is lacking', (definition, run) => {
    expect(between([definition], [])!.remedy).toBe(`${run} Or drop on one what the other lacks.`);
  });

  it('that are too long or too many are told by their digests, and still told apart', () => {
    const long = (end: string) => `CHECK ((n IN (${'1, '.repeat(5_000)}${end})))`;
    const [one, other] = [constraintsOf([long('2')]), constraintsOf([long('3')])];
    expect(one[0]!.length).toBeLessThanOrEqual(2_000);
    expect(between(one, other)).not.toBeNull();
    const many = (end: number) =>
      constraintsOf(Array.from({ length: 2_000 }, (_, i) => `UNIQUE (c${i === 1_999 ? end : i})`));
    expect(many(1_999)).toHaveLength(500);
    expect(between(many(1_999), many(1_999))).toBeNull();
    expect(between(many(1_999), many(9_999))).not.toBeNull();
  });
});

describe('What a definition says', () => {
  it.each([
    ['UNIQUE (lower((mail)::text))', 'UNIQUE (lower(mail))'],
    [`CHECK (((x)::text = 'a'::text))`, `CHECK ((x = 'a'::text))`],
    ['CHECK ((n > (0)::numeric))', 'CHECK ((n > 0))'],
    [
      `CHECK (((x)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))`,
      `CHECK ((x = ANY (ARRAY['a'::text, 'b'::text])))`,
    ],
    ['CHECK (((x)::character varying(20) <> y))', 'CHECK ((x <> y))'],
  ])('is the same for columns that take each other’s values: %s, %s', (one, other) => {
    expect(essence(one)).toBe(essence(other));
  });

  it.each([
    ['CHECK (((a OR b) AND c))', 'CHECK ((a OR (b AND c)))'],
    [`CHECK ((x <> 'a b'))`, `CHECK ((x <> 'ab'))`],
    [`CHECK ((x <> '(a)'))`, `CHECK ((x <> 'a'))`],
    ['CHECK (((x)::date > y))', 'CHECK ((x > y))'],
    ['UNIQUE ("A")', 'UNIQUE (a)'],
  ])('is not the same where something else is meant: %s, %s', (one, other) => {
    expect(essence(one)).not.toBe(essence(other));
  });
});
