import * as fc from 'fast-check';
import { shapeDrifts, takesOrRefuses, takesText } from './shape-drift';
import { type ColumnForm, formDigest, quoteIdent, type TableForm } from './table-form';

const types = [
  ...['smallint', 'integer', 'bigint', 'numeric', 'numeric(10,2)', 'numeric(12,2)', 'numeric(12,4)', 'numeric(5,-2)'],
  ...[
    'text',
    'character varying',
    'character varying(5)',
    'character varying(9)',
    'character(5)',
    'double precision',
    'real',
  ],
  ...['boolean', 'date', 'integer[]', 'public.mood'],
];

const column = (name: string, more: Partial<ColumnForm> = {}): ColumnForm => ({
  name,
  type: 'text',
  base: 'text',
  generated: false,
  optional: true,
  more: '',
  ...more,
});
const id = column('id', { type: 'integer', base: 'integer', optional: false, more: 'NOT NULL' });
const form = (...columns: ColumnForm[]): TableForm => ({ key: ['id'], columns: [id, ...columns] });
const between = (ours: TableForm, theirs: TableForm, formerOurs?: string[], formerTheirs?: string[]) =>
  shapeDrifts(
    'public.items',
    { node: 'b', form: ours, former: new Set(formerOurs) },
    { node: 'a', form: theirs, former: new Set(formerTheirs) },
  );

const columns = fc.uniqueArray(
  fc.record({
    name: fc.constantFrom('a', 'b', 'c', 'd', 'Ünï"q', 'select'),
    type: fc.constantFrom(...types),
    generated: fc.boolean(),
    optional: fc.boolean(),
  }),
  { selector: ({ name }) => name },
);
const forms = columns.map((some) => form(...some.map((one) => column(one.name, { ...one, base: one.type }))));

describe('The drift between two tables', () => {
  it('is none between equal tables, in whatever order their columns stand', () => {
    fc.assert(
      fc.property(forms, (one) => {
        const shuffled = { ...one, columns: [...one.columns].reverse() };
        expect(between(one, shuffled)).toEqual([]);
        expect(formDigest(shuffled)).toBe(formDigest(one));
      }),
    );
  });

  it('is none in either direction where the digests are equal', () => {
    fc.assert(
      fc.property(forms, forms, (a, b) => {
        if (formDigest(a) !== formDigest(b)) return;
        expect([...between(a, b), ...between(b, a)]).toEqual([]);
      }),
    );
  });

  it('is none only where every value that is sent has a column of its own that prints it alike, and no column is left empty that must not be', () => {
    fc.assert(
      fc.property(forms, forms, (ours, theirs) => {
        const of = (table: TableForm, name: string) => table.columns.find((one) => one.name === name);
        const arrives = theirs.columns.every((sent) => {
          const put = of(ours, sent.name);
          if (sent.generated) return put === undefined || put.generated;
          return put !== undefined && !put.generated && takesText(put.base, sent.base);
        });
        const filled = ours.columns.every((put) => put.optional || put.generated || of(theirs, put.name) !== undefined);
        expect(between(ours, theirs).length === 0).toBe(arrives && filled);
      }),
    );
  });

  it('names a column, and says what to do, each time', () => {
    fc.assert(
      fc.property(forms, forms, (ours, theirs) => {
        for (const { column: name, reason, remedy } of between(ours, theirs)) {
          expect(reason).toContain(name);
          expect(remedy).toMatch(/^On [ab]: ALTER TABLE public\.items .*;|Make it the same on both\./);
        }
      }),
    );
  });

  it('lets an additional column stand at the receiver where it is nullable or has a default', () => {
    expect(between(form(column('extra')), form())).toEqual([]);
    expect(between(form(column('extra', { more: `NOT NULL DEFAULT 'x'::text` })), form())).toEqual([]);
    expect(between(form(column('extra', { optional: false })), form())).toMatchObject([
      { kind: 'required_column', column: 'extra' },
    ]);
  });

  it('tells an added column from a dropped and a renamed one, as far as it can', () => {
    const added = column('colour', { more: `NOT NULL DEFAULT 'red'::text` });
    expect(between(form(), form(added))).toEqual([
      {
        kind: 'missing_column',
        column: 'colour',
        reason: 'b lacks the column colour (text) that a has.',
        remedy: `On b: ALTER TABLE public.items ADD COLUMN colour text NOT NULL DEFAULT 'red'::text;`,
      },
    ]);
    const [dropped] = between(form(), form(column('colour')), ['id', 'colour'], ['id', 'colour']);
    expect(dropped).toMatchObject({ kind: 'dropped_column', column: 'colour' });
    expect(dropped!.remedy).toContain('on a: ALTER TABLE public.items DROP COLUMN colour;');
    const [renamed] = between(form(column('shade')), form(column('colour')));
    expect(renamed).toMatchObject({
      kind: 'renamed_column',
      column: 'colour',
      reason: 'b lacks the column colour (text) that a has, and has shade instead: renamed?',
    });
    const [known] = between(form(column('shade')), form(column('colour')), ['id', 'shade'], ['id', 'shade', 'colour']);
    expect(known!.remedy).toBe('On b: ALTER TABLE public.items RENAME COLUMN shade TO colour;');
    const several = between(form(column('shade'), column('tint')), form(column('colour')));
    expect(several).toMatchObject([{ kind: 'missing_column' }]);
    const number = column('shade', { type: 'integer', base: 'integer' });
    expect(between(form(number), form(column('colour')))).toMatchObject([{ kind: 'missing_column' }]);
  });

  it('knows a column that one of both computes, and primary keys that differ', () => {
    const computed = column('total', { generated: true });
    expect(between(form(computed), form(column('total')))).toMatchObject([{ kind: 'generated_column' }]);
    expect(between(form(column('total')), form(computed))).toMatchObject([{ kind: 'generated_column' }]);
    expect(between(form(), form(computed))).toEqual([]);
    const other = { ...form(column('part')), key: ['id', 'part'] };
    expect(between(form(column('part')), other)).toMatchObject([{ kind: 'other_key', column: 'part' }]);
  });

  it('looks under domains', () => {
    const email = column('mail', { type: 'public.email', base: 'text' });
    expect([...between(form(email), form(column('mail'))), ...between(form(column('mail')), form(email))]).toEqual([]);
  });
});

describe('The text of one type is taken by another', () => {
  it.each([
    ['bigint', 'integer', true],
    ['integer', 'bigint', false],
    ['numeric', 'smallint', true],
    ['integer', 'numeric', false],
    ['numeric', 'numeric(10,2)', true],
    ['numeric(12,2)', 'numeric(10,2)', true],
    ['numeric(12,4)', 'numeric(10,2)', false],
    ['numeric(10,2)', 'numeric', false],
    ['text', 'character varying(5)', true],
    ['character varying(9)', 'character varying(5)', true],
    ['character varying(5)', 'character varying(9)', false],
    ['character varying(9)', 'text', false],
    ['character varying', 'text', true],
    ['text', 'character(5)', false],
    ['double precision', 'real', false],
    ['text', 'integer', false],
    ['bigint[]', 'integer[]', false],
    ['public.mood', 'public.mood', true],
  ])('%s of %s: %s', (ours, theirs, taken) => expect(takesText(ours, theirs)).toBe(taken));

  it('or PostgreSQL refuses it: of integers, of numerics with one scale, and of texts', () => {
    const taken = (ours: string, theirs: string) => takesOrRefuses(ours, theirs);
    expect([
      taken('smallint', 'bigint'),
      taken('numeric', 'integer'),
      taken('character varying(5)', 'text'),
      taken('numeric(10,2)', 'numeric(12,2)'),
    ]).toEqual([true, true, true, true]);
    expect([taken('integer', 'numeric'), taken('numeric(10,2)', 'numeric'), taken('integer', 'text')]).toEqual([
      false,
      false,
      false,
    ]);
  });

  it('where it goes one way and back, the types are as good as the same', () => {
    const alike = [['text', 'character varying']];
    for (const a of types)
      for (const b of types)
        if (a !== b && takesText(a, b) && takesText(b, a)) expect(alike).toContainEqual([a, b].sort().reverse());
  });
});

it('A name is quoted where PostgreSQL needs it', () => {
  expect(['items', 'Items', 'select', 'my "x"', '1st'].map(quoteIdent)).toEqual([
    'items',
    '"Items"',
    '"select"',
    '"my ""x"""',
    '"1st"',
  ]);
});
