import type { Pool } from 'pg';
import { givingWay, inTransaction } from '../database';
import { metaKeys } from '../keys';
import { keepMade } from '../made-sql';
import type { TableShape } from '../table-shape';
import { isIn, type Passed } from './passed';

/** Rows that let go of their siblings in one transaction. */
const batch = 5_000;

/**
 * SQL, of a metadata row `m`: whether it stands by the last write against all its siblings. One that is composed or parked has its own version
 * among them. (libs/core: letGo.)
 */
export const isSettled = 'm.siblings IS NOT NULL AND p2p.highest_stamp(m.siblings) < m.stamp';

/** SQL: the past of such a row's version once it counts as made over its siblings. */
export const settledPast = 'p2p.past_of_write(m.past, m.origin, m.stamp, m.siblings, m.origin)';

/**
 * Drops versions that have lost to the last write, and that all members have come past (docs/members.md). The row, its version and its place in the
 * feed stay as they are: every member does the same by itself. What somebody is just writing is left for the next time.
 * @param isOurs whether the last write settles every conflict of the table here
 * @returns how many rows have one version now
 */
export async function letGo(pool: Pool, shape: TableShape, passed: Passed, isOurs: () => boolean): Promise<number> {
  if (passed.otherRules(shape.name).length > 0) return 0;
  const { snapshot } = passed.of(shape.name);
  let rows = 0;
  for (;;) {
    const some = await inTransaction(pool, 'BEGIN', async (client) => {
      // Whoever changes the rules waits for this (Rulebook.set), and finds what has been let go of by the former ones.
      await client.query('LOCK TABLE p2p.position IN ROW SHARE MODE');
      if (!isOurs()) return 0;
      const { rowCount } = await client.query(
        `UPDATE ${shape.meta} AS m SET past = ${settledPast}, siblings = NULL, let_go = true
         WHERE m.ctid = ANY (ARRAY(SELECT m.ctid FROM ${shape.meta} AS m WHERE ${isSettled} AND ${isIn(snapshot)} LIMIT ${batch} FOR UPDATE SKIP LOCKED))`,
      );
      return rowCount ?? 0;
    });
    rows += some;
    if (some < batch) return rows;
  }
}

/** How often rows are asked for that somebody has locked: for half a minute or more. */
const attempts = 75;

/**
 * Where the last write does not settle every conflict any more: rows that have let go by the former rules go to all once more, for who
 * has not. He would show another of their versions, or leave to people what they can decide nowhere else.
 */
export async function tellLetGo(pool: Pool, shape: TableShape): Promise<void> {
  for (;;) {
    const some = await givingWay(pool, attempts, async (client) => {
      const { rowCount } = await client.query(
        `UPDATE ${shape.meta} AS m SET ${keepMade('m')}, xid = pg_current_xact_id(), via = NULL, let_go = NULL
         WHERE m.ctid = ANY (ARRAY(SELECT m.ctid FROM ${shape.meta} AS m WHERE m.let_go ORDER BY ${metaKeys(shape, 'm')} LIMIT ${batch} FOR UPDATE))`,
      );
      if (rowCount) await client.query(`SELECT pg_notify('p2p', '')`);
      return rowCount ?? 0;
    });
    if (some < batch) return;
  }
}
