import type { Pool } from 'pg';
import { openPool } from './database';

/**
 * Rows are found by their keys, whatever size a table had when a plan was made. In a large window, too: each row that is found is
 * written, so its page and its index's are read anyway, and a hash join would read all others along (a third slower, measured).
 */
const byIndex = { enable_seqscan: 'off', enable_hashjoin: 'off', enable_mergejoin: 'off', jit: 'off' };
const planOnce = { plan_cache_mode: 'force_generic_plan' };

/**
 * Replica role keeps the users' triggers and foreign keys out of a merge (trap 29). It belongs to the connection, for a change of
 * it throws away every plan; whether capture is suppressed belongs to the transaction (trap 31).
 */
const replica = { session_replication_role: 'replica' };

/** A node's connections, by what they are for. */
export class Connections {
  /** Ordinary work, and the staging of large windows. */
  readonly ordinary: Pool;
  /** Reading windows. */
  readonly windows: Pool;
  /** Merging small windows. */
  readonly merges: Pool;
  /** Merging large windows. */
  readonly bulk: Pool;

  constructor(url: string) {
    this.ordinary = openPool(url, 8);
    this.windows = openPool(url, 8, { ...byIndex, ...planOnce });
    this.merges = openPool(url, 2, { ...byIndex, ...planOnce, ...replica });
    this.bulk = openPool(url, 2, { ...byIndex, ...replica, work_mem: '64MB' });
  }

  async end(): Promise<void> {
    await Promise.all([this.ordinary, this.windows, this.merges, this.bulk].map((pool) => pool.end()));
  }
}
