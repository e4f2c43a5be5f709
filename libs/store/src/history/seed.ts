import type { Pool } from 'pg';
import { giveWay, inTransaction, sqlState, waits } from '../database';
import { inData, inMeta, keysAfter, keysEqual, metaKeys, textKey } from '../keys';
import type { TableShape } from '../table-shape';
import { prints } from './capture-block';
import { inKeys, keptImage, ownDeleted, ownImage, ownVersion } from './record-sql';

/** Rows that are recorded in one transaction. */
const batchSize = 10_000;

/**
 * Records the rows as they stand that have no entry for their version yet: those that were there before their history, or whose
 * last write it could not take. In key order and small transactions; no row is locked. What a row was when its history
 * began can so be read and restored after the first write to it.
 */
export async function seedHistory(
  pool: Pool,
  shape: TableShape,
  progress: (rows: number) => void = () => undefined,
): Promise<void> {
  let recorded = 0;
  for (let after: readonly string[] | null = []; after !== null;) {
    const { rows } = await pool.query<{ recorded: number; seen: number; last: string[] | null }>(
      seedBatch(shape, after.length > 0),
      [...after],
    );
    const batch: { recorded: number; seen: number; last: string[] | null } = rows[0]!;
    recorded += batch.recorded;
    if (batch.recorded > 0) progress(recorded);
    after = batch.seen < batchSize ? null : batch.last;
  }
  await pool.query('UPDATE p2p.tracked_table SET seeded = true WHERE id = $1', [shape.id]);
}

/** Whether rows were there before the history, and have not been recorded yet. */
export async function needsSeed(pool: Pool, { id, maxVersions }: TableShape): Promise<boolean> {
  if (maxVersions === 0) return false;
  const { rows } = await pool.query<{ seeded: boolean }>('SELECT seeded FROM p2p.tracked_table WHERE id = $1', [id]);
  return rows[0]?.seeded === false;
}

/** Lets the histories go that are no longer wanted. */
export async function dropHistories(pool: Pool, shapes: readonly TableShape[]): Promise<void> {
  const { rows } = await pool.query<{ id: number }>(
    `SELECT t.id FROM p2p.tracked_table AS t WHERE t.max_versions = 0 AND to_regclass('p2p.history_' || t.id) IS NOT NULL`,
  );
  for (const shape of shapes.filter(({ id }) => rows.some((row) => row.id === id))) await dropHistory(pool, shape);
}

/**
 * Writers that were at work when the capture function was replaced may still be about to use the history: the table's lock waits for
 * them. When it would have to wait for long, the next upkeep tries again.
 */
async function dropHistory(pool: Pool, shape: TableShape): Promise<void> {
  try {
    await inTransaction(pool, 'BEGIN', async (client) => {
      await client.query(giveWay);
      await client.query(`LOCK TABLE ${shape.name} IN SHARE ROW EXCLUSIVE MODE`);
      await client.query(`DROP TABLE ${shape.history}`);
      await client.query(`DROP FUNCTION IF EXISTS ${prints(shape)}(regclass)`);
    });
  } catch (error) {
    if (!waits(sqlState(error))) throw error;
  }
}

function seedBatch(shape: TableShape, further: boolean): string {
  const later = keysAfter(shape, inMeta('m'), (column, i) => `$${i + 1}::text::${column.type}`);
  const columns = shape.columns.map((column) => ({ ...column, at: column.ident }));
  return `WITH batch AS MATERIALIZED (
      SELECT m.* FROM ${shape.meta} AS m ${further ? `WHERE ${later}` : ''} ORDER BY ${metaKeys(shape, 'm')} LIMIT ${batchSize}
    ), put AS (
      INSERT INTO ${shape.history} (${metaKeys(shape)}, stamp, origin, priority, past, deleted, image, how)
      SELECT ${metaKeys(shape, 'm')}, m.stamp, m.origin, m.priority, m.past, ${ownDeleted}, ${ownImage('d.image')},
        CASE WHEN split_part(m.origin, '~', 1) = n.node_id THEN 'written' ELSE 'received' END
      FROM batch AS m CROSS JOIN p2p.node AS n ${ownVersion}
        LEFT JOIN LATERAL (SELECT true AS live, ${keptImage(columns, 'd')} AS image FROM ${shape.name} AS d
          WHERE ${keysEqual(shape, inData('d'), inMeta('m'))} OFFSET 0) AS d ON NOT m.deleted
      WHERE (m.deleted OR d.live) AND NOT EXISTS (SELECT FROM ${shape.history} AS h
        WHERE ${keysEqual(shape, inKeys('h'), inMeta('m'))} AND h.stamp = m.stamp AND h.origin = m.origin)
      RETURNING 1
    )
    SELECT (SELECT count(*) FROM put) AS recorded, (SELECT count(*) FROM batch) AS seen,
      (SELECT ${textKey(shape, 'b')} FROM (SELECT * FROM batch AS b ORDER BY ${shape.key.map((_, i) => `b.key${i + 1} DESC`).join(', ')} LIMIT 1) AS b) AS last`;
}
