import { Problem } from '@pgmesh/wire';

/**
 * The shared table of that name, with its schema or in `public`. Names are compared with those of shared tables and go no
 * further; what does not exist and what is not shared are answered alike.
 */
export function sharedTable(shared: readonly string[], name: string): string {
  const table = shared.find((one) => one === name) ?? shared.find((one) => one === `public.${name}`);
  if (table !== undefined) return table;
  throw new Problem('not_found', 'No table of that name is shared here. GET /p2p/status lists those that are.');
}
