import type { Rules } from '@pgmesh/core';
import { Problem } from '@pgmesh/wire';

/**
 * The shared table of that name, with its schema or in `public`, quoted as PostgreSQL prints it or not. Names are compared with
 * those of shared tables and go no further; what does not exist and what is not shared are answered alike.
 */
export function sharedTable(shared: readonly string[], name: string): string {
  const asked = [name, `public.${name}`];
  const table = shared.find((one) => asked.includes(one)) ?? shared.find((one) => asked.includes(unquoted(one)));
  if (table !== undefined) return table;
  throw new Problem('not_found', 'No table of that name is shared here. GET /p2p/status lists those that are.');
}

/** The tables that rules speak of and that are not shared here, as the rules have their names: nothing will be decided by them. */
export function tablesNotShared(shared: readonly string[], rules: Rules): string[] {
  const known = new Set(shared.map(unquoted));
  const told = rules.flatMap(({ table }) => (table === null || known.has(table) ? [] : [table]));
  return [...new Set(told)];
}

/** `sales."My ""own"" Table"` → `sales.My "own" Table` */
const unquoted = (table: string): string =>
  table.replace(/"((?:[^"]|"")*)"/g, (_quoted, inner: string) => inner.replaceAll('""', '"'));
