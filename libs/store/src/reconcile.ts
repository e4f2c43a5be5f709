import { escapeLiteral, type Pool, type PoolClient } from 'pg';
import { giveWay, givingWay, inTransaction } from './database';
import type { NodeIdentity } from './identity';
import { recordWritten } from './history/record';
import { dataKeys, inData, inMeta, keysAfter, keysEqual, metaKeys, rekeyed } from './keys';
import type { TableShape } from './table-shape';
import { fillTemplate } from './template';

/** Rows that are given their first version in one transaction when a table that has rows comes under capture. */
const backfillBatch = 10_000;
/** Of half a second each. */
const backfillAttempts = 120;

/**
 * What an update of a version by a local write sets: the one rule for capture, backfill and reconciliation. `fields` is SQL for the
 * field stamps: none where the whole row was written; `rekeyed` sets keys (see rekeyed) where `excluded` has them.
 */
export function supersession({ fields = 'NULL', rekeyed = '' } = {}): string {
  return fillTemplate('supersession.sql', { fields, rekeyed });
}

/** SQL for the field stamps of a write that leaves a row standing: of tables where the older row stands, that of its primary key tells its age. */
export function keptAge({ key, oldestFirst }: TableShape): string {
  if (!oldestFirst) return 'NULL';
  const kept = escapeLiteral(JSON.stringify({ [key[0]!.name]: true }));
  return `CASE WHEN NOT m.deleted AND NOT excluded.deleted THEN p2p.fields_of_write(m.fields, m.stamp, m.origin, ${kept}) END`;
}

/**
 * Gives rows that have no version yet one of their own, in key order and small transactions: nobody's write waits. A row that
 * somebody writes or deletes meanwhile has its version from capture, and keeps that.
 */
export async function backfill(
  pool: Pool,
  identity: NodeIdentity,
  shape: TableShape,
  progress: (rows: number) => void = () => undefined,
): Promise<number> {
  const order = dataKeys(shape, 'd');
  const later = keysAfter(shape, inData('d'), (column, i) => `$${i + 4}::text::${column.type}`);
  const statement = (first: boolean) => `
    WITH batch AS MATERIALIZED (
      SELECT ${order} FROM ${shape.name} AS d ${first ? '' : `WHERE ${later}`} ORDER BY ${order} LIMIT $3
    ), put AS (
      INSERT INTO ${shape.meta} (${metaKeys(shape)}, stamp, origin, priority, deleted, xid)
      SELECT b.*, p2p.stamp(), $1, $2, false, pg_current_xact_id() FROM batch AS b ON CONFLICT DO NOTHING RETURNING 1
    )
    SELECT (SELECT count(*) FROM put) AS put, (SELECT count(*) FROM batch) AS seen,
      ARRAY(SELECT u.part FROM (SELECT ${order} FROM batch AS d ORDER BY ${shape.key.map((c) => `d.${c.ident} DESC`).join(', ')} LIMIT 1) AS last,
        LATERAL unnest(ARRAY[${shape.key.map((c) => `last.${c.ident}::text`).join(', ')}]) AS u (part)) AS last`;
  let after: string[] = [];
  let put = 0;
  for (let first = true; ; first = false) {
    const batch = await backfillStep(pool, statement(first), [
      identity.origin,
      identity.priority,
      backfillBatch,
      ...after,
    ]);
    put += batch.put;
    if (batch.put > 0) progress(put);
    if (batch.seen < backfillBatch) break;
    after = batch.last;
  }
  await pool.query('UPDATE p2p.tracked_table SET backfilled = true WHERE id = $1 AND NOT backfilled', [shape.id]);
  return put;
}

/** One batch; begun again when users' transactions hold versions that it has to wait for. */
function backfillStep(pool: Pool, text: string, values: readonly unknown[]) {
  return givingWay(pool, backfillAttempts, async (client) => {
    const { rows } = await client.query<{ put: number; seen: number; last: string[] }>(text, [...values]);
    return rows[0]!;
  });
}

/**
 * Makes tombstones for versions that are live although the table lacks their rows, among those written by transactions in
 * [from, below): what TRUNCATE removed beyond its snapshot, or what was deleted past the triggers.
 *
 * The versions are locked first and judged under a later snapshot: whoever writes such a row after that has to wait for us at
 * its version, and supersedes the tombstone. A version that somebody holds is just being written, and is left to them.
 */
export async function buryMissing(
  pool: Pool,
  identity: NodeIdentity,
  shape: TableShape,
  from: string,
  below: string,
): Promise<number> {
  const missing = `NOT m.deleted AND NOT EXISTS (SELECT FROM ${shape.name} AS d WHERE ${keysEqual(shape, inData('d'), inMeta('m'))})`;
  return inTransaction(pool, 'BEGIN', async (client) => {
    const { rows } = await client.query<{ places: string }>(
      `SELECT array_agg(l.place)::text AS places FROM (SELECT m.ctid AS place FROM ${shape.meta} AS m
         WHERE ${missing} AND m.xid >= $1::xid8 AND m.xid < $2::xid8 FOR UPDATE OF m SKIP LOCKED) AS l`,
      [from, below],
    );
    const { rowCount } = await client.query(
      `UPDATE ${shape.meta} AS m SET ${supersession()}
       FROM (VALUES (p2p.stamp(), $1::text, $2::int4, true, pg_current_xact_id())) AS excluded (stamp, origin, priority, deleted, xid)
       WHERE m.ctid = ANY ($3::tid[]) AND ${missing}`,
      [identity.origin, identity.priority, rows[0]!.places ?? '{}'],
    );
    await recordWritten(client, shape);
    return rowCount ?? 0;
  });
}

/** Completes the tombstones of TRUNCATEs that could not see all rows. */
export async function sweep(pool: Pool, identity: NodeIdentity, shapes: readonly TableShape[]): Promise<void> {
  const { rows } = await pool.query<{ table_id: number; xid: string }>(
    'SELECT table_id, max(xid::text::numeric)::text AS xid FROM p2p.sweep GROUP BY table_id',
  );
  for (const { table_id, xid } of rows) {
    const shape = shapes.find(({ id }) => id === table_id);
    // Rows that it removed unseen may well have versions of later transactions than itself.
    if (shape) await buryMissing(pool, identity, shape, '0', '18446744073709551615');
    await pool.query('DELETE FROM p2p.sweep WHERE table_id = $1 AND xid <= $2::xid8', [table_id, xid]);
  }
}

/**
 * Gives versions to what was written while a table was not what its capture function named. Images that no longer have the
 * key, because it was changed again, stand for any row: then all rows of the table take a new version.
 */
export async function versionImages(pool: Pool, identity: NodeIdentity, shape: TableShape): Promise<void> {
  const { rows: waiting } = await pool.query('SELECT FROM p2p.unversioned WHERE table_id = $1 LIMIT 1', [shape.id]);
  if (waiting.length === 0) return;
  await inTransaction(pool, 'BEGIN', async (client) => {
    await client.query(giveWay);
    await client.query('CREATE TEMPORARY TABLE image (image jsonb) ON COMMIT DROP');
    await client.query(
      `WITH taken AS (DELETE FROM p2p.unversioned WHERE table_id = $1 RETURNING image)
       INSERT INTO pg_temp.image SELECT image FROM taken`,
      [shape.id],
    );
    const key = `ARRAY[${shape.key.map((column) => `'${column.name.replace(/'/g, "''")}'`).join(', ')}]::text[]`;
    const { rows } = await client.query<{ known: boolean }>(
      `SELECT coalesce(bool_and(image ?& ${key}), true) AS known FROM pg_temp.image`,
    );
    const source = rows[0]!.known
      ? `SELECT ${dataKeys(shape, 'r')} FROM pg_temp.image AS i, jsonb_populate_record(NULL::${shape.name}, i.image) AS r
         WHERE num_nulls(${dataKeys(shape, 'r')}) = 0`
      : `SELECT ${dataKeys(shape, 'd')} FROM ${shape.name} AS d UNION ALL SELECT ${metaKeys(shape, 'm')} FROM ${shape.meta} AS m WHERE NOT m.deleted`;
    await supersede(client, identity, shape, source);
  });
}

/**
 * New versions for all keys of `source`. Written, and so locked, before it is judged which of them live (see buryMissing).
 * @param stamp SQL; one that is lower than a row's gives it the lowest that a write can have
 */
export async function supersede(
  client: PoolClient,
  identity: NodeIdentity,
  shape: TableShape,
  source: string,
  stamp = 'p2p.stamp()',
): Promise<void> {
  await client.query(
    `INSERT INTO ${shape.meta} AS m (${metaKeys(shape)}, stamp, origin, priority, deleted, xid)
     SELECT k.*, ${stamp}, $1, $2, false, pg_current_xact_id() FROM (SELECT DISTINCT s.* FROM (${source}) AS s ORDER BY ${shape.key.map((_, i) => i + 1).join(', ')}) AS k
     ON CONFLICT (${metaKeys(shape)}) DO UPDATE SET ${supersession({ fields: keptAge(shape), rekeyed: rekeyed(shape, inMeta('excluded')) })}`,
    [identity.origin, identity.priority],
  );
  await client.query(
    `UPDATE ${shape.meta} AS m SET deleted = true, fields = NULL WHERE m.xid = pg_current_xact_id()
       AND NOT EXISTS (SELECT FROM ${shape.name} AS d WHERE ${keysEqual(shape, inData('d'), inMeta('m'))})`,
  );
  await recordWritten(client, shape);
}
