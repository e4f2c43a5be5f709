import type { DigestedForm, TableForm } from '@pgmesh/core';
import type { Hello } from '@pgmesh/wire';

/** What a node has told of its tables' forms. */
export interface ToldTables {
  readonly digests: ReadonlyMap<string, string>;
  /** Of those that differ from ours, as far as it has told them. */
  readonly forms: ReadonlyMap<string, TableForm>;
}

/** What a greeting adds to what was told before; the very same where it adds nothing. */
export function toldTables({ tables, digests, forms }: Hello, before?: ToldTables): ToldTables {
  const named = new Map(tables.flatMap((table, i): [string, string][] => (digests[i] ? [[table, digests[i]]] : [])));
  const kept = [...(before?.forms ?? [])].filter(([table]) => named.get(table) === before!.digests.get(table));
  const told: ToldTables = { digests: named, forms: new Map([...kept, ...Object.entries(forms)]) };
  return before && JSON.stringify(entriesOf(before)) === JSON.stringify(entriesOf(told)) ? before : told;
}

function entriesOf({ digests, forms }: ToldTables): unknown {
  return [[...digests], [...forms].sort(([a], [b]) => (a < b ? -1 : 1))];
}

/** Characters of JSON, in one greeting. Of more tables that differ the first are told, and the others refused when they come. */
const mostTold = 400_000;
/** What follows a column's type where it is no longer than a peer reads. */
const longestMore = 2_000;

/** Those of our tables that the other has in another form, as we tell them. */
export function formsFor(ours: ReadonlyMap<string, DigestedForm>, theirs: ToldTables | undefined): Hello['forms'] {
  const owed: Hello['forms'] = {};
  let told = 0;
  for (const [table, { form, digest }] of ours) {
    const other = theirs?.digests.get(table);
    if (other === undefined || other === digest) continue;
    const columns = form.columns.map((column) => ({
      ...column,
      more: column.more.length > longestMore ? '' : column.more,
    }));
    told += JSON.stringify(columns).length;
    if (told > mostTold) break;
    owed[table] = { key: [...form.key], columns };
  }
  return owed;
}
