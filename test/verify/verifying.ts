import type { ComparedTable, DifferingRow } from '@pgmesh/sync';
import type { LiveNode } from '../support/mesh-node';

interface Line extends Partial<Omit<ComparedTable, 'detail'>> {
  readonly type: string;
  readonly peer: string;
  readonly error?: unknown;
  readonly detail?: string | null;
}

/** The lines of one comparison, as a node answers it. */
export async function verify(node: LiveNode, asked: object = {}): Promise<ComparedTable[]> {
  const response = await fetch(`${node.url}/p2p/verify`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(asked),
  });
  const lines = (await response.text())
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
  expect(lines.filter(({ type, error }) => type === 'error' || error)).toEqual([]);
  return lines.filter(({ type }) => type === 'table') as unknown as ComparedTable[];
}

export const howOf = (tables: readonly ComparedTable[]): Record<string, DifferingRow['how']> =>
  Object.fromEntries(tables.flatMap(({ keys }) => keys.map(({ key, how }) => [key.join('/'), how])));

/** Writes that no trigger sees, in one transaction. */
export async function pastCapture(node: LiveNode, table: string, ...statements: string[]): Promise<void> {
  await node.sql(
    `BEGIN; ALTER TABLE ${table} DISABLE TRIGGER USER; ${statements.join('; ')}; ALTER TABLE ${table} ENABLE TRIGGER USER;
     SELECT 1; COMMIT`,
  );
  // ENABLE alone would make them fire in replica role no more.
  const triggers = await node.sql<{ name: string }>(
    `SELECT tgname AS name FROM pg_trigger WHERE tgrelid = '${table}'::regclass AND NOT tgisinternal`,
  );
  for (const { name } of triggers) await node.sql(`ALTER TABLE ${table} ENABLE ALWAYS TRIGGER "${name}"`);
}
