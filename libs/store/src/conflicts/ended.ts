import type { Pool } from 'pg';
import { keysEqual, inMeta } from '../keys';
import type { TableShape } from '../table-shape';
import { typed } from '../typed-text';

/**
 * Ends the records of rows that have but one version by now, or none: a local write covered the set, and capture knows of no
 * records. What somebody is just writing is left for the next time.
 */
export async function endSettled(pool: Pool, shapes: readonly TableShape[]): Promise<void> {
  const { rows } = await pool.query<{ table_id: number }>(
    'SELECT DISTINCT table_id FROM p2p.conflict WHERE ended_at IS NULL',
  );
  for (const { table_id } of rows) {
    const shape = shapes.find(({ id }) => id === table_id);
    if (shape) await pool.query(endStatement(shape), [shape.id]);
  }
}

function endStatement(shape: TableShape): string {
  const isVersion = keysEqual(shape, inMeta('m'), (column, i) => typed(column, `c.key[${i + 1}]`));
  return `UPDATE p2p.conflict AS c SET ended_at = clock_timestamp(), updated_at = clock_timestamp(),
      ended_by = CASE WHEN o.stamp IS NOT NULL THEN jsonb_build_object('stamp', o.stamp, 'origin', o.origin) END
    FROM (
      SELECT c.id, m.stamp, m.origin FROM p2p.conflict AS c LEFT JOIN ${shape.meta} AS m ON ${isVersion}
      WHERE c.table_id = $1 AND c.ended_at IS NULL AND m.siblings IS NULL ORDER BY c.id FOR UPDATE OF c SKIP LOCKED
    ) AS o WHERE c.id = o.id AND c.ended_at IS NULL`;
}

/** Records that go in one statement. */
const batch = 10_000;

/** Forgets what nobody has to decide any more, so many milliseconds after it changed last. */
export async function forgetSettled(pool: Pool, retention: number): Promise<void> {
  for (;;) {
    const { rowCount } = await pool.query(
      `DELETE FROM p2p.conflict WHERE id IN (
         SELECT id FROM p2p.conflict WHERE updated_at < clock_timestamp() - make_interval(secs => $1::float8 / 1000)
           AND (ended_at IS NOT NULL OR open IS NULL) ORDER BY updated_at LIMIT ${batch} FOR UPDATE SKIP LOCKED)`,
      [retention],
    );
    if ((rowCount ?? 0) < batch) return;
  }
}
