import {
  beginning,
  drawIncarnation,
  incarnationsAtOnce,
  joinSnapshots,
  parseSnapshot,
  type Snapshot,
} from '@pgmesh/core';
import { randomInt } from 'node:crypto';
import type { Pool, PoolClient } from 'pg';
import { inTransaction } from './database';
import { guardAnew } from './forgetting/guards';
import { isMadeHere, madeAt } from './made-sql';

/** Who this node is: its id, and the incarnation of its database, which is the epoch of its feed. */
export interface NodeIdentity {
  readonly nodeId: string;
  readonly epoch: string;
  /** Under which its writes are versioned. */
  readonly origin: string;
  readonly priority: number;
}

interface NodeRow {
  node_id: string;
  incarnation: string;
  priority: number;
  same_database: boolean;
}

/**
 * Reads, or at first makes, the identity of this database. A database that is found on another cluster, another timeline or
 * under another oid than it was written on was restored or copied: it goes on under a new incarnation, and its positions are
 * stamped anew (traps 10 and 11). So does one that shares a table again: peers take a node to have what it wrote, and it need not have that any more.
 * @param shared the names of the tables that it is to share
 * @throws Error when the database belongs to another node id
 */
export async function establishIdentity(
  pool: Pool,
  nodeId: string,
  priority: number,
  shared: readonly string[],
): Promise<NodeIdentity> {
  return inTransaction(pool, 'BEGIN', async (client) => {
    await client.query('LOCK TABLE p2p.node IN SHARE ROW EXCLUSIVE MODE');
    const { rows } = await client.query<NodeRow>(`
      SELECT node_id, incarnation, priority,
        (n.system_identifier, n.timeline, n.database_oid) = (s.system_identifier, c.timeline_id, d.oid) AS same_database
      FROM p2p.node AS n, pg_control_system() AS s, pg_control_checkpoint() AS c, pg_database AS d
      WHERE d.datname = current_database()`);
    const known = rows[0];
    if (known && known.node_id !== nodeId) {
      throw new Error(
        `This database belongs to node "${known.node_id}", not to "${nodeId}". ` +
          `Start with NODE_ID=${known.node_id}, or run "pgmesh detach" on it first.`,
      );
    }
    const again = await client.query('DELETE FROM p2p.formerly_shared WHERE name = ANY ($1) RETURNING name', [shared]);
    const goesOn = known?.same_database === true && again.rows.length === 0;
    const incarnation = goesOn ? known.incarnation : newIncarnation(known?.incarnation ?? null);
    if (!goesOn || known.priority !== priority) await save(client, nodeId, incarnation, priority);
    if (known && !goesOn) {
      await restampPositions(client, `${nodeId}~${known.incarnation}`);
      await guardAnew(client, { node: nodeId, epoch: known.incarnation }, { node: nodeId, epoch: incarnation });
    }
    return { nodeId, epoch: incarnation, origin: `${nodeId}~${incarnation}`, priority };
  });
}

/** @param previous the one of before, where there was one */
export function newIncarnation(previous: string | null): string {
  return drawIncarnation(Date.now(), randomInt(incarnationsAtOnce), previous);
}

async function save(client: PoolClient, nodeId: string, incarnation: string, priority: number): Promise<void> {
  await client.query(
    `INSERT INTO p2p.node (node_id, incarnation, priority, system_identifier, timeline, database_oid)
     SELECT $1, $2, $3, s.system_identifier, c.timeline_id, d.oid
     FROM pg_control_system() AS s, pg_control_checkpoint() AS c, pg_database AS d WHERE d.datname = current_database()
     ON CONFLICT (only_one) DO UPDATE SET incarnation = excluded.incarnation, priority = excluded.priority,
       system_identifier = excluded.system_identifier, timeline = excluded.timeline, database_oid = excluded.database_oid`,
    [nodeId, incarnation, priority],
  );
}

/**
 * Transaction ids of another cluster mean nothing here, and may lie ahead of ours: all rows take the present one, and remember in which feed they were made.
 * Of that only what a tick or a claim has noted can be said. What came later may have been written after the database was set back, before the node
 * was started on it: under ids that were given before, and that peers have come past. It counts as made in the new feed.
 */
async function restampPositions(client: PoolClient, former: string): Promise<void> {
  const { xmax, xip } = await noted(client, former);
  const { rows } = await client.query<{ id: number }>('SELECT id FROM p2p.tracked_table');
  for (const { id } of rows) {
    const [isOwn, at] = [isMadeHere('m'), madeAt('m')];
    const isNoted = `(${at} < $2::xid8 AND ${at} <> ALL ($3::xid8[]))`;
    await client.query(
      `UPDATE p2p.meta_${id} AS m SET made_in = CASE WHEN NOT ${isOwn} THEN m.made_in WHEN ${isNoted} THEN $1 END,
         made_xid = CASE WHEN NOT ${isOwn} THEN m.made_xid WHEN ${isNoted} THEN ${at} END, xid = pg_current_xact_id()`,
      [former, String(xmax), xip.map(String)],
    );
  }
  await client.query('DELETE FROM p2p.tick');
}

/** Up to where our feed had certainly come before the database was set back. */
async function noted(client: PoolClient, former: string): Promise<Snapshot> {
  const { rows } = await client.query<{ snapshot: string }>(
    `(SELECT t.snapshot FROM p2p.tick AS t ORDER BY t.at DESC LIMIT 1)
     UNION ALL SELECT m.snapshot FROM p2p.member AS m WHERE m.node_id || '~' || m.epoch = $1 AND m.snapshot IS NOT NULL`,
    [former],
  );
  return rows.map(({ snapshot }) => parseSnapshot(snapshot)!).reduce(joinSnapshots, beginning);
}
