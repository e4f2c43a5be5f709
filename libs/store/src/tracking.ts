import { escapeLiteral, type Pool, type PoolClient } from 'pg';
import { inTransaction, type Queryable } from './database';
import type { NodeIdentity } from './identity';
import { dataKeys, inData, inMeta, keysAfter, keysEqual, metaKeys } from './keys';
import { readShapes, type TableShape } from './table-shape';
import { fillTemplate } from './template';

/** Rows that are given their first version in one transaction when a table that has rows comes under capture. */
const backfillBatch = 10_000;

/**
 * Brings a table under capture: its metadata table, its capture function, its triggers. Safe to run again: functions are
 * replaced (a new incarnation writes under a new origin), missing triggers are added (a new partition has none).
 */
export async function track(pool: Pool, identity: NodeIdentity, oid: number): Promise<TableShape> {
  return inTransaction(pool, 'BEGIN', async (client) => {
    await client.query('LOCK TABLE p2p.tracked_table IN SHARE ROW EXCLUSIVE MODE');
    const { rows } = await client.query<{ id: number; made: boolean }>(
      `INSERT INTO p2p.tracked_table (relation, name, key_columns)
       SELECT c.oid, format('%I.%I', n.nspname, c.relname),
         (SELECT array_agg(a.attname::text ORDER BY k.position) FROM pg_index AS x, unnest(x.indkey::int2[]) WITH ORDINALITY AS k (attnum, position)
            JOIN pg_attribute AS a ON a.attnum = k.attnum WHERE x.indrelid = c.oid AND x.indisprimary AND a.attrelid = c.oid)
       FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = $1
       ON CONFLICT (relation) DO UPDATE SET name = excluded.name RETURNING id, xmax = 0 AS made`,
      [oid],
    );
    const { id, made } = rows[0]!;
    const shape = (await readShapes(client, id))[0]!;
    if (made) await client.query(trackStatement(shape));
    await client.query(captureStatement(shape, identity));
    await addTriggers(client, shape);
    return shape;
  });
}

/** Takes a table out of capture: triggers, function, metadata. Its rows stay as they are. */
export async function untrack(db: Queryable, shape: TableShape): Promise<void> {
  await db.query(`DROP FUNCTION ${capture(shape)}() CASCADE`);
  await db.query(`DROP TABLE ${shape.meta}`);
  await db.query('DELETE FROM p2p.tracked_table WHERE id = $1', [shape.id]);
}

function capture(shape: TableShape): string {
  return `p2p.capture_${shape.id}`;
}

function trackStatement(shape: TableShape): string {
  return fillTemplate('track.sql', {
    name: shape.name,
    meta: shape.meta,
    keys: metaKeys(shape),
    keyDefinitions: shape.key.map((column, i) => `key${i + 1} ${column.definition}`).join(', '),
  });
}

/** What an update of a version by a local write sets: the one rule for capture, backfill and reconciliation. */
function supersession(): string {
  return fillTemplate('supersession.sql', {});
}

function captureStatement(shape: TableShape, { origin, priority }: NodeIdentity): string {
  return fillTemplate('capture.sql', {
    id: String(shape.id),
    name: shape.name,
    relation: shape.name,
    meta: shape.meta,
    capture: capture(shape),
    keys: metaKeys(shape),
    firstKey: shape.key[0]!.ident,
    keyOfNew: dataKeys(shape, 'n'),
    keyOfOld: dataKeys(shape, 'o'),
    keyOfEither: shape.key.map((c) => `coalesce(n.${c.ident}, o.${c.ident})`).join(', '),
    newIsOld: keysEqual(shape, inData('n'), inData('o')),
    dataIsOld: keysEqual(shape, inData('d'), inData('o')),
    dataIsNew: keysEqual(shape, inData('d'), inData('n')),
    dataIsMeta: keysEqual(shape, inData('d'), inMeta('m')),
    origin: escapeLiteral(origin),
    priority: String(priority),
    supersession: supersession(),
  });
}

const triggers: readonly { name: string; when: string }[] = [
  { name: 'p2p_insert', when: 'INSERT', tables: 'NEW TABLE AS new_rows' },
  { name: 'p2p_update', when: 'UPDATE', tables: 'OLD TABLE AS old_rows NEW TABLE AS new_rows' },
  { name: 'p2p_delete', when: 'DELETE', tables: 'OLD TABLE AS old_rows' },
  { name: 'p2p_truncate', when: 'TRUNCATE', tables: null },
].map(({ name, when, tables }) => ({ name, when: `${when} ON %s${tables ? ` REFERENCING ${tables}` : ''}` }));

/** Adds what is missing of the four triggers on the table and on each of its partitions (trap 22). Returns how many. */
async function addTriggers(client: PoolClient, shape: TableShape): Promise<number> {
  const { rows } = await client.query<{ member: string; name: string }>(
    `SELECT format('%I.%I', n.nspname, c.relname) AS member, wanted.name
     FROM (SELECT $1::oid::regclass AS relid UNION SELECT relid FROM pg_partition_tree($1::oid::regclass)) AS p
       JOIN pg_class AS c ON c.oid = p.relid JOIN pg_namespace AS n ON n.oid = c.relnamespace,
       unnest($2::text[]) AS wanted (name)
     WHERE NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND t.tgname = wanted.name AND t.tgenabled = 'A')
     ORDER BY 1, 2`,
    [shape.oid, triggers.map((trigger) => trigger.name)],
  );
  for (const { member, name } of rows) {
    const { when } = triggers.find((trigger) => trigger.name === name)!;
    await client.query(`DROP TRIGGER IF EXISTS ${name} ON ${member}`);
    await client.query(
      `CREATE TRIGGER ${name} AFTER ${when.replace('%s', member)} FOR EACH STATEMENT EXECUTE FUNCTION ${capture(shape)}()`,
    );
    // Replica-role writes and logical apply are writes too (trap 30).
    await client.query(`ALTER TABLE ONLY ${member} ENABLE ALWAYS TRIGGER ${name}`);
  }
  return rows.length;
}

/** Completes the triggers of a table, for instance on partitions that are new. True when some were missing. */
export async function completeTriggers(pool: Pool, shape: TableShape): Promise<boolean> {
  return (await inTransaction(pool, 'BEGIN', (client) => addTriggers(client, shape))) > 0;
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
      SELECT b.*, p2p.clock(), $1, $2, false, pg_current_xact_id() FROM batch AS b ON CONFLICT DO NOTHING RETURNING 1
    )
    SELECT (SELECT count(*) FROM put) AS put, (SELECT count(*) FROM batch) AS seen,
      ARRAY(SELECT x FROM (SELECT ${order} FROM batch AS d ORDER BY ${shape.key.map((c) => `d.${c.ident} DESC`).join(', ')} LIMIT 1) AS last,
        LATERAL unnest(ARRAY[${shape.key.map((c) => `last.${c.ident}::text`).join(', ')}]) AS x) AS last`;
  let after: string[] = [];
  let put = 0;
  for (let first = true; ; first = false) {
    const { rows } = await pool.query<{ put: number; seen: number; last: string[] }>(statement(first), [
      identity.origin,
      identity.priority,
      backfillBatch,
      ...after,
    ]);
    const batch = rows[0]!;
    put += batch.put;
    if (batch.put > 0) progress(put);
    if (batch.seen < backfillBatch) break;
    after = batch.last;
  }
  await pool.query('UPDATE p2p.tracked_table SET backfilled = true WHERE id = $1 AND NOT backfilled', [shape.id]);
  return put;
}

/**
 * Makes tombstones for versions that are live although the table lacks their rows, among those written by transactions in
 * [from, below): what TRUNCATE removed beyond its snapshot, or what was deleted past the triggers. Writers wait meanwhile, so
 * that no row is judged while it is being written.
 */
export async function buryMissing(
  pool: Pool,
  identity: NodeIdentity,
  shape: TableShape,
  from: string,
  below: string,
): Promise<number> {
  return inTransaction(pool, 'BEGIN', async (client) => {
    await client.query(`SET LOCAL lock_timeout = '5s'`);
    await client.query(`LOCK TABLE ${shape.name} IN SHARE MODE`);
    const { rowCount } = await client.query(
      `UPDATE ${shape.meta} AS m SET ${supersession()}
       FROM (VALUES (p2p.clock(), $1::text, $2::int4, true, pg_current_xact_id())) AS excluded (stamp, origin, priority, deleted, xid)
       WHERE NOT m.deleted AND m.xid >= $3::xid8 AND m.xid < $4::xid8
         AND NOT EXISTS (SELECT FROM ${shape.name} AS d WHERE ${keysEqual(shape, inData('d'), inMeta('m'))})`,
      [identity.origin, identity.priority, from, below],
    );
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
    if (shape) await buryMissing(pool, identity, shape, '0', String(BigInt(xid) + 1n));
    await pool.query('DELETE FROM p2p.sweep WHERE table_id = $1 AND xid <= $2::xid8', [table_id, xid]);
  }
}
