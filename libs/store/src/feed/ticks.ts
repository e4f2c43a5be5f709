import type { Pool } from 'pg';

/** Notes which snapshot stands now, so that `since=` can start from it; once a minute, kept for thirty days. */
export async function tick(pool: Pool): Promise<void> {
  await pool.query(`
    WITH present AS (SELECT pg_snapshot_xmax(s)::text || ':' || array_to_string(ARRAY(SELECT x::text FROM pg_snapshot_xip(s) AS x ORDER BY x), ',') AS snapshot
      FROM pg_current_snapshot() AS s)
    INSERT INTO p2p.tick (at, snapshot)
    SELECT clock_timestamp(), p.snapshot FROM present AS p
    WHERE p.snapshot IS DISTINCT FROM (SELECT t.snapshot FROM p2p.tick AS t ORDER BY t.at DESC LIMIT 1)`);
  await pool.query(`DELETE FROM p2p.tick WHERE at < now() - interval '30 days'`);
}
