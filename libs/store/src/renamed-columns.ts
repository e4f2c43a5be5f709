import type { Pool, PoolClient } from 'pg';
import { inTransaction } from './database';
import type { TableShape } from './table-shape';

/** A table's columns, number to name. */
type Names = Readonly<Record<string, string>>;

/**
 * What is kept of rows beside their tables (parked ones, versions in conflict, the history) tells values by the names of columns: when
 * these are renamed, it follows. Columns that were dropped are taken out of parked rows, as they are out of all others.
 */
export async function followNames(pool: Pool, shapes: readonly TableShape[]): Promise<void> {
  const { rows } = await pool.query<{ id: number; before: Names | null; now: Names }>(
    `SELECT t.id, t.column_names AS before, n.names AS now FROM p2p.tracked_table AS t, LATERAL (
       SELECT jsonb_object_agg(a.attnum::text, a.attname) AS names FROM pg_attribute AS a
       WHERE a.attrelid = t.relation AND a.attnum > 0 AND NOT a.attisdropped) AS n
     WHERE n.names IS NOT NULL AND t.column_names IS DISTINCT FROM n.names`,
  );
  for (const { id, before, now } of rows) {
    const shape = shapes.find((one) => one.id === id);
    if (!shape) continue;
    await inTransaction(pool, 'BEGIN', async (client) => {
      const renamed = before === null ? {} : renamesOf(before, now);
      if (Object.keys(renamed).length > 0) await rename(client, shape, JSON.stringify(renamed));
      await client.query(
        `UPDATE p2p.parked AS p SET image = (SELECT coalesce(jsonb_object_agg(e.key, e.value), '{}') FROM jsonb_each(p.image) AS e WHERE e.key = ANY ($2))
         WHERE p.table_id = $1 AND EXISTS (SELECT FROM jsonb_object_keys(p.image) AS k WHERE k <> ALL ($2))`,
        [id, Object.values(now)],
      );
      await client.query('UPDATE p2p.tracked_table SET column_names = $2 WHERE id = $1', [id, JSON.stringify(now)]);
    });
  }
}

/**
 * Former name → present name. By the numbers of the columns, but for names that the table still has: a restored table has its columns
 * under other numbers.
 */
export function renamesOf(before: Names, now: Names): Record<string, string> {
  const present = new Set(Object.values(now));
  const former = new Set(Object.values(before));
  const renamed = Object.entries(before).filter(
    ([number, name]) => now[number] !== undefined && !present.has(name) && !former.has(now[number]),
  );
  return Object.fromEntries(renamed.map(([number, name]) => [name, now[number]!]));
}

async function rename(client: PoolClient, shape: TableShape, names: string): Promise<void> {
  const versions = (of: string) => `(SELECT jsonb_agg(v.version
      || CASE WHEN v.version ? 'image' THEN jsonb_build_object('image', p2p.renamed(v.version -> 'image', $1)) ELSE '{}' END
      || CASE WHEN v.version ? 'fields' THEN jsonb_build_object('fields', p2p.renamed(v.version -> 'fields', $1)) ELSE '{}' END ORDER BY v.place)
    FROM jsonb_array_elements(${of}) WITH ORDINALITY AS v (version, place))`;
  await client.query(
    `UPDATE ${shape.meta} AS m SET fields = p2p.renamed(m.fields, $1), siblings = ${versions('m.siblings')}
     WHERE m.fields IS NOT NULL OR m.siblings IS NOT NULL`,
    [names],
  );
  await client.query(`UPDATE p2p.parked SET image = p2p.renamed(image, $1) WHERE table_id = ${shape.id}`, [names]);
  await client.query(
    `UPDATE p2p.conflict AS c SET versions = ${versions('c.versions')} WHERE c.table_id = ${shape.id} AND c.ended_at IS NULL`,
    [names],
  );
  if (shape.maxVersions === 0) return;
  await client.query(`UPDATE ${shape.history} SET image = p2p.renamed(image, $1) WHERE image IS NOT NULL`, [names]);
}
