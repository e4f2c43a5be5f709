import type { Pool } from 'pg';
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
 * @returns how many rows have one version now
 */
export async function letGo(pool: Pool, shape: TableShape, passed: Passed): Promise<number> {
  if (!passed.settles(shape) || passed.otherRules(shape.name).length > 0) return 0;
  const { snapshot } = passed.of(shape.name);
  let rows = 0;
  for (;;) {
    const { rowCount } = await pool.query(
      `UPDATE ${shape.meta} AS m SET past = ${settledPast}, siblings = NULL
       WHERE m.ctid = ANY (ARRAY(SELECT m.ctid FROM ${shape.meta} AS m WHERE ${isSettled} AND ${isIn(snapshot)} LIMIT ${batch} FOR UPDATE SKIP LOCKED))`,
    );
    rows += rowCount ?? 0;
    if ((rowCount ?? 0) < batch) return rows;
  }
}
