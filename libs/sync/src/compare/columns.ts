import type { TableForm } from '@pgmesh/core';
import type { Store } from '../ports';
import type { ToldTables } from '../told-tables';

/**
 * The columns by which a table is compared with a peer's: those that both have, and that neither computes. Null while the form of its
 * table is not known.
 */
export function columnsInCommon(
  store: Pick<Store, 'forms'>,
  told: ToldTables | undefined,
  table: string,
): string[] | null {
  const ours = store.forms().get(table);
  if (!ours) return null;
  const theirs = told?.forms.digests.get(table) === ours.digest ? ours.form : told?.forms.wholes.get(table);
  if (!theirs) return null;
  const sent = stored(theirs);
  return [...stored(ours.form)].filter((name) => sent.has(name)).sort();
}

function stored({ columns }: TableForm): Set<string> {
  return new Set(columns.filter(({ generated }) => !generated).map(({ name }) => name));
}
