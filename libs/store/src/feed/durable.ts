import type { Pool } from 'pg';
import type { Queryable } from '../database';

/**
 * SQL for how far the write-ahead log must be flushed before anybody is told of what this snapshot shows; null when it is.
 *
 * A crash takes back what was not flushed, and gives its transaction ids out again: a reader whose cursor lies behind them would
 * never be sent what is written under them then. That is so under `synchronous_commit = off`, and of transactions that
 * were rolled back under any setting.
 */
export const unflushed = `(SELECT CASE WHEN pg_current_wal_flush_lsn() < w.inserted THEN w.inserted::text END
  FROM (SELECT pg_current_wal_insert_lsn() AS inserted OFFSET 0) AS w)`;

/** Waits until the log is flushed up to `lsn`; makes it so where nobody else's commit has meanwhile. */
export async function flushed(db: Queryable, pool: Pool, lsn: string | null): Promise<void> {
  if (lsn === null) return;
  const { rows } = await db.query<{ done: boolean }>({
    name: 'p2p_flushed',
    text: 'SELECT pg_current_wal_flush_lsn() >= $1::pg_lsn AS done',
    values: [lsn],
  });
  if (rows[0]!.done) return;
  // A commit that has written something is waited for; the log up to it is flushed with it.
  await pool.query(`SET LOCAL synchronous_commit = 'local'; SELECT pg_logical_emit_message(true, 'pgmesh', '')`);
}

/** SQL, in a transaction, that makes its commit wait for the log also where the database is set not to. */
export const durably = `SELECT set_config('synchronous_commit', coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'local'), true)`;
