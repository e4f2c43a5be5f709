import type { DigestedForm, TableForm } from '@pgmesh/core';
import type { Hello } from '@pgmesh/wire';

/** What a node has told of one side of its tables. */
export interface Told<Whole> {
  readonly digests: ReadonlyMap<string, string>;
  /** Of those that differ from ours, as far as it has told them. */
  readonly wholes: ReadonlyMap<string, Whole>;
}

/** What a node has told of its tables. */
export interface ToldTables {
  readonly forms: Told<TableForm>;
  readonly constraints: Told<readonly string[]>;
}

/** What a greeting adds to what was told before; the very same where it adds nothing. */
export function toldTables(
  { tables, digests, forms, constraint_digests, constraints }: Hello,
  before?: ToldTables,
): ToldTables {
  const told: ToldTables = {
    forms: latest(tables, digests, forms, before?.forms),
    constraints: latest(tables, constraint_digests, constraints, before?.constraints),
  };
  return before && told.forms === before.forms && told.constraints === before.constraints ? before : told;
}

function latest<Whole>(
  tables: readonly string[],
  digests: readonly string[],
  wholes: Readonly<Record<string, Whole>>,
  before?: Told<Whole>,
): Told<Whole> {
  const named = new Map(tables.flatMap((table, i): [string, string][] => (digests[i] ? [[table, digests[i]]] : [])));
  const kept = [...(before?.wholes ?? [])].filter(([table]) => named.get(table) === before!.digests.get(table));
  const told = { digests: named, wholes: new Map([...kept, ...Object.entries(wholes)]) };
  return before && JSON.stringify(entriesOf(before)) === JSON.stringify(entriesOf(told)) ? before : told;
}

function entriesOf<Whole>({ digests, wholes }: Told<Whole>): unknown {
  return [[...digests], [...wholes].sort(([a], [b]) => (a < b ? -1 : 1))];
}

/** Characters of JSON, in one greeting. Of more tables that differ the first are told, and the others refused when they come. */
const mostOfForms = 400_000;
/** The same; of more tables that differ the first are told, and others when these agree. */
const mostOfConstraints = 200_000;
/** What follows a column's type where it is no longer than a peer reads. */
const longestMore = 2_000;

/** Those of our tables that the other has in another form, as we tell them. */
export function formsFor(ours: ReadonlyMap<string, DigestedForm>, theirs: ToldTables | undefined): Hello['forms'] {
  const differing = [...ours].filter(([table, { digest }]) => differs(theirs?.forms, table, digest));
  return within(mostOfForms, differing, ({ form }) => {
    const columns = form.columns.map((column) => ({
      ...column,
      more: column.more.length > longestMore ? '' : column.more,
    }));
    return { key: [...form.key], columns };
  });
}

/** What keeps rows out of those of our tables where the other keeps out others. */
export function constraintsFor(
  ours: ReadonlyMap<string, DigestedForm>,
  theirs: ToldTables | undefined,
): Hello['constraints'] {
  const differing = [...ours].filter(([table, { constraintsDigest }]) =>
    differs(theirs?.constraints, table, constraintsDigest),
  );
  return within(mostOfConstraints, differing, ({ constraints }) => [...constraints]);
}

function differs(theirs: Told<unknown> | undefined, table: string, digest: string): boolean {
  const other = theirs?.digests.get(table);
  return other !== undefined && other !== digest;
}

function within<Whole>(
  most: number,
  tables: readonly (readonly [string, DigestedForm])[],
  wholeOf: (table: DigestedForm) => Whole,
): Record<string, Whole> {
  const owed: Record<string, Whole> = {};
  let told = 0;
  for (const [table, one] of tables) {
    const whole = wholeOf(one);
    told += JSON.stringify(whole).length;
    if (told > most) break;
    owed[table] = whole;
  }
  return owed;
}
