/** Foreign keys between tables, by their names: who refers, and to which. */
export type References = readonly (readonly [child: string, parent: string])[];

/**
 * Of these tables, those to copy before the others, so that as few rows as can be come before the ones that they refer to: the tables
 * that refer to none of the others, or only to such as refer to them again. Never empty where `tables` is not.
 */
export function copiedFirst(tables: readonly string[], references: References): string[] {
  const parents = new Map(tables.map((table) => [table, new Set<string>()]));
  for (const [child, parent] of references) if (parents.has(parent)) parents.get(child)?.add(parent);
  const reached = new Map(tables.map((table) => [table, reachedFrom(table, parents)]));
  return tables.filter((table) =>
    [...reached.get(table)!].every((other) => reached.get(other)!.has(table) || other === table),
  );
}

function reachedFrom(table: string, parents: ReadonlyMap<string, ReadonlySet<string>>): Set<string> {
  const reached = new Set<string>();
  const next = [table];
  for (let one = next.pop(); one !== undefined; one = next.pop()) {
    for (const parent of parents.get(one) ?? []) {
      if (reached.has(parent)) continue;
      reached.add(parent);
      next.push(parent);
    }
  }
  return reached;
}
