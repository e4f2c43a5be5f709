import type { Pool } from 'pg';
import { openPool } from './database';
import type { Lease } from './lease';

/** Rows are found by their keys, whatever size a table had when a plan was made. */
const byIndex = {
  plan_cache_mode: 'force_generic_plan',
  enable_seqscan: 'off',
  enable_hashjoin: 'off',
  enable_mergejoin: 'off',
  jit: 'off',
};

/**
 * In a large window, too: each row that is found is written, so its page and its index's are read anyway, and a hash join would read
 * all others along (a third slower, measured). Stages have no index, so that seqscans stay on: a scan that is switched off and
 * cannot be avoided costs so much that the planner no longer sees a difference between good plans and bad ones.
 */
const oneByOne = { enable_hashjoin: 'off', enable_mergejoin: 'off', jit: 'off' };

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
  /** Under which all of this is done, where other processes may do it as well. */
  lease: Lease | null = null;

  /** @param name of all of them, where it is not `pgmesh` */
  constructor(url: string, name = 'pgmesh') {
    const named = { application_name: name };
    this.ordinary = openPool(url, 8, named);
    this.windows = openPool(url, 8, { ...named, ...byIndex });
    this.merges = openPool(url, 2, { ...named, ...byIndex, ...replica });
    this.bulk = openPool(url, 2, { ...named, ...oneByOne, ...replica, work_mem: '64MB' });
  }

  async end(): Promise<void> {
    await Promise.all([this.ordinary, this.windows, this.merges, this.bulk].map((pool) => pool.end()));
    await this.lease?.release();
  }
}
