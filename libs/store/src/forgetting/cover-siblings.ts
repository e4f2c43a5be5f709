import { endsConflicts, nobodysOrigin, type Snapshot } from '@pgmesh/core';
import type { Pool } from 'pg';
import { inTransaction } from '../database';
import { recordWritten } from '../history/record';
import { inMeta, keysEqual } from '../keys';
import type { TableShape } from '../table-shape';
import { typed } from '../typed-text';
import { isIn, type Passed, type Self } from './passed';

/** Rows that are covered in one transaction. */
const batch = 1_000;

/**
 * Ends the conflicts of a table that the last write has settled and that all members have come past (docs/members.md): a version with the
 * row as it stands covers all of them, and travels. It is stamped right above them, so that whoever writes the row meanwhile writes later.
 * For tables alone in which the last write always wins: by any other rule it might win over such a write.
 * @returns how many rows were covered
 */
export async function coverSiblings(pool: Pool, self: Self, shape: TableShape, passed: Passed): Promise<number> {
  if (!endsConflicts(self, passed.members, shape.name)) return 0;
  const { snapshot } = passed.of(shape.name);
  let covered = 0;
  for (;;) {
    const some = await inTransaction(pool, 'BEGIN', async (client) => {
      // No merge comes between, which might park a row for what stands here.
      await client.query('SELECT FROM p2p.position ORDER BY node FOR SHARE');
      const { rowCount } = await client.query(coverStatement(shape, snapshot), [nobodysOrigin(self.nodeId, 'settled')]);
      if (!rowCount) return 0;
      await recordWritten(client, shape);
      await client.query(`SELECT pg_notify('p2p', '')`);
      return rowCount;
    });
    covered += some;
    if (some < batch) return covered;
  }
}

/** Rows in conflict are found by their records; what somebody is just writing is left for the next time. */
function coverStatement(shape: TableShape, snapshot: Snapshot): string {
  const isVersion = keysEqual(shape, inMeta('m'), (column, i) => typed(column, `c.key[${i + 1}]`));
  // One that is parked, or made of several, has its own version among its siblings.
  const isHighest = `NOT EXISTS (SELECT FROM jsonb_array_elements(m.siblings) AS s
        WHERE ((s ->> 'stamp')::int8, s ->> 'origin' COLLATE "C") >= (m.stamp, m.origin COLLATE "C"))`;
  return `WITH due AS MATERIALIZED (
      SELECT m.ctid AS place FROM p2p.conflict AS c JOIN ${shape.meta} AS m ON ${isVersion}
      WHERE c.table_id = ${shape.id} AND c.ended_at IS NULL AND m.siblings IS NOT NULL AND ${isIn(snapshot)} AND ${isHighest}
        AND NOT EXISTS (SELECT FROM p2p.parked AS p WHERE p.table_id = ${shape.id})
      LIMIT ${batch} FOR UPDATE OF m SKIP LOCKED
    )
    UPDATE ${shape.meta} AS m SET stamp = m.stamp + 1, origin = $1::text, fields = NULL, siblings = NULL,
      past = p2p.past_of_write(m.past, m.origin, m.stamp, m.siblings, $1::text),
      via = NULL, made_in = NULL, made_xid = NULL, xid = pg_current_xact_id()
    FROM due WHERE m.ctid = due.place`;
}
