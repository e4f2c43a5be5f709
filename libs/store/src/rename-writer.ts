import { feedName } from '@pgmesh/core';
import type { PoolClient } from 'pg';
import { givingWay, openPool, type Queryable } from './database';
import { guardAnew } from './forgetting/guards';
import { newIncarnation } from './identity';
import { isMadeHere, madeAt } from './made-sql';

export interface RenameOptions {
  readonly url: string;
  /** When the copy was made, or a little before: what was written here later is told apart from what the other wrote. */
  readonly since: Date;
  /** For a copy that is to be a node of its own. */
  readonly nodeId?: string;
}

export interface Renamed {
  readonly before: string;
  readonly after: string;
  /** Versions that bear the new name now. */
  readonly versions: number;
}

/** To come between users' transactions; of half a second each, at most. */
const attempts = 60;

/**
 * Lets a database that is a copy of another, or that was set back, write under a name of its own (trap 9). Its writes since then
 * bear that name, too, and of the old name they have seen what was written until then and nothing later: what the other
 * database wrote is concurrent with them, and none of it is lost. Peers read its feed anew.
 * @throws Error when there is no pgmesh in the database, or its node runs
 */
export async function renameWriter(options: RenameOptions): Promise<Renamed> {
  const pool = openPool(options.url, 1);
  try {
    return await givingWay(pool, attempts, (client) => rename(client, options));
  } finally {
    await pool.end();
  }
}

async function rename(client: PoolClient, { since, nodeId }: RenameOptions): Promise<Renamed> {
  await assertStopped(client);
  const tables = await trackedTables(client);
  // Whoever writes just now writes under the old name, or waits for the new one.
  const locked = ['p2p.node', ...tables.map(({ relation }) => relation)].join(', ');
  await client.query(`LOCK TABLE ${locked} IN SHARE ROW EXCLUSIVE MODE`);
  const { former, present } = await renameNode(client, nodeId);
  const [before, after] = [feedName(former.node, former.epoch), feedName(present.node, present.epoch)];
  const fork = since.getTime() * 1000;
  let versions = 0;
  for (const { id } of tables) {
    await keepPlaces(client, `p2p.meta_${id}`, before);
    versions += await renameVersions(client, `p2p.meta_${id}`, before, after, fork);
    await client.query('UPDATE p2p.parked SET origin = $2 WHERE table_id = $4 AND origin = $1 AND stamp > $3', [
      before,
      after,
      fork,
      id,
    ]);
    await renameHistory(client, `p2p.history_${id}`, before, after, fork);
    await renameCapture(client, id, before, after);
  }
  await guardAnew(client, former, present);
  return { before, after, versions };
}

async function assertStopped(db: Queryable): Promise<void> {
  const { rows: known } = await db.query(`SELECT FROM pg_class WHERE oid = to_regclass('p2p.node')`);
  if (known.length === 0) throw new Error('There is no pgmesh in this database: nothing is to be renamed.');
  const { rows } = await db.query<{ pid: number }>(
    `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name ~ '^pgmesh' AND pid <> pg_backend_pid()`,
  );
  if (rows[0])
    throw new Error(`The node of this database runs (its connection has pid ${rows[0].pid}). Stop it first.`);
}

interface Writer {
  readonly node: string;
  readonly epoch: string;
}

async function renameNode(db: Queryable, nodeId: string | undefined): Promise<{ former: Writer; present: Writer }> {
  const named = 'node_id AS node, incarnation AS epoch';
  const { rows: known } = await db.query<Writer>(`SELECT ${named} FROM p2p.node`);
  const former = known[0];
  if (!former) throw new Error('No node has ever been started on this database: nothing is to be renamed.');
  const { rows } = await db.query<Writer>(
    `UPDATE p2p.node SET node_id = coalesce($1, node_id), incarnation = $2 RETURNING ${named}`,
    [nodeId ?? null, newIncarnation(former.epoch)],
  );
  return { former, present: rows[0]! };
}

async function trackedTables(db: Queryable): Promise<{ id: number; relation: string }[]> {
  const { rows } = await db.query<{ id: number; relation: string }>(
    `SELECT t.id, format('%I.%I', n.nspname, c.relname) AS relation FROM p2p.tracked_table AS t
       JOIN pg_class AS c ON c.oid = t.relation JOIN pg_namespace AS n ON n.oid = c.relnamespace ORDER BY t.id`,
  );
  return rows;
}

/** Of the old name a renamed version has seen what was written until the fork. $1, $2, $3: the names before and after, and the fork. */
const past = (of: string): string =>
  `CASE jsonb_typeof(${of}) WHEN 'object' THEN ${of} ELSE '{}' END || jsonb_build_object($1::text, $3::int8)`;

/** Field stamps, those of them renamed that name a renamed version. */
function fieldsRenamed(of: string): string {
  const write = (at: string) =>
    `CASE WHEN ${at} ->> 1 = $1 AND (${at} ->> 0)::int8 > $3 THEN jsonb_build_array(${at} -> 0, $2::text) ELSE ${at} END`;
  return `(SELECT jsonb_object_agg(f.key, f.value
      || CASE WHEN f.value ? 'at' THEN jsonb_build_object('at', ${write(`(f.value -> 'at')`)}) ELSE '{}' END
      || CASE WHEN f.value ? 'keys' THEN jsonb_build_object('keys', coalesce(
        (SELECT jsonb_object_agg(k.key, ${write('k.value')}) FROM jsonb_each(f.value -> 'keys') AS k), '{}')) ELSE '{}' END)
    FROM jsonb_each(CASE jsonb_typeof(${of}) WHEN 'object' THEN ${of} END) AS f)`;
}

/** What was written here was made in the feed of the old name: others may have come past it, and forgotten that it was deleted since. */
async function keepPlaces(client: PoolClient, meta: string, before: string): Promise<void> {
  await client.query(`UPDATE ${meta} AS m SET made_in = $1, made_xid = ${madeAt('m')} WHERE ${isMadeHere('m')}`, [
    before,
  ]);
}

/** A version of the old name from after the fork, whether it stands or is a sibling. Of our own past nothing need be told. It was made in the new feed, just now. */
async function renameVersions(
  client: PoolClient,
  meta: string,
  before: string,
  after: string,
  fork: number,
): Promise<number> {
  const { rowCount } = await client.query(
    `UPDATE ${meta} AS m SET
       origin = CASE WHEN m.origin = $1 AND m.stamp > $3 THEN $2 ELSE m.origin END,
       past = CASE WHEN m.origin = $1 AND m.stamp > $3 THEN ${past('m.past')} ELSE m.past END,
       fields = CASE WHEN m.origin = $1 AND m.stamp > $3 OR EXISTS (SELECT FROM jsonb_array_elements(m.siblings) AS s
         WHERE s ->> 'origin' = m.origin AND (s ->> 'stamp')::int8 = m.stamp) THEN ${fieldsRenamed('m.fields')} ELSE m.fields END,
       siblings = (SELECT jsonb_agg(CASE WHEN s ->> 'origin' = $1 AND (s ->> 'stamp')::int8 > $3
         THEN s || jsonb_build_object('origin', $2::text, 'past', ${past(`(s -> 'past')`)}, 'made', jsonb_build_array($2::text, pg_current_xact_id()::text))
           || CASE jsonb_typeof(s -> 'fields') WHEN 'object' THEN jsonb_build_object('fields', ${fieldsRenamed(`(s -> 'fields')`)}) ELSE '{}' END
         ELSE s END) FROM jsonb_array_elements(m.siblings) AS s),
       made_in = CASE WHEN m.origin = $1 AND m.stamp > $3 THEN NULL ELSE coalesce(m.made_in, m.via) END,
       made_xid = CASE WHEN m.origin = $1 AND m.stamp > $3 THEN NULL ELSE m.made_xid END, via = NULL, xid = pg_current_xact_id()
     WHERE m.origin = $1 AND m.stamp > $3
       OR m.siblings IS NOT NULL AND EXISTS (SELECT FROM jsonb_array_elements(m.siblings) AS s WHERE s ->> 'origin' = $1 AND (s ->> 'stamp')::int8 > $3)`,
    [before, after, fork],
  );
  return rowCount ?? 0;
}

/** What is kept of these versions in the table's history, where there is one. */
async function renameHistory(
  client: PoolClient,
  history: string,
  before: string,
  after: string,
  fork: number,
): Promise<void> {
  const { rows } = await client.query<{ kept: boolean }>('SELECT to_regclass($1) IS NOT NULL AS kept', [history]);
  if (!rows[0]!.kept) return;
  await client.query(
    `UPDATE ${history} AS h SET origin = $2, past = ${past('h.past')} WHERE h.origin = $1 AND h.stamp > $3`,
    [before, after, fork],
  );
}

/** The capture function writes under the name that it was made with. */
async function renameCapture(client: PoolClient, id: number, before: string, after: string): Promise<void> {
  const { rows } = await client.query<{ statement: string }>(
    `SELECT replace(pg_get_functiondef(to_regproc($1)::oid), quote_literal($2::text), quote_literal($3::text)) AS statement`,
    [`p2p.capture_${id}`, before, after],
  );
  await client.query(rows[0]!.statement);
}
