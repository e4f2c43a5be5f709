import { Problem } from '@pgmesh/wire';
import { escapeLiteral } from 'pg';
import { inMeta, inStage, keysEqual } from '../keys';
import type { Stage } from './stage';

/** How many staged rows `s` have a version that claims to be ours. */
export function ownCount(origin: string): string {
  return `count(*) FILTER (WHERE s.v2 = ${escapeLiteral(origin)} OR s.v6 @> ${escapeLiteral(JSON.stringify([{ origin }]))})`;
}

/**
 * Finds a staged version that bears our name and that we do not know: we never wrote it, or have lost it. What we wrote before the table
 * came under capture, with other metadata, is let in, and so is what is no later than what we have forgotten (docs/members.md). Asked in the transaction of the merge, before or after versions are
 * marked: what this transaction has marked was unknown.
 */
export function unknownOwnQuery({ shape, source }: Stage, origin: string): string {
  const own = escapeLiteral(origin);
  return `SELECT c.stamp
    FROM (${source}) AS s
      CROSS JOIN LATERAL (SELECT s.v1 AS stamp WHERE s.v2 = ${own}
        UNION ALL SELECT (e ->> 'stamp')::int8 FROM jsonb_array_elements(s.v6) AS e WHERE e ->> 'origin' = ${own}) AS c
      LEFT JOIN ${shape.meta} AS m ON ${keysEqual(shape, inMeta('m'), inStage('s'))} AND m.xid <> pg_current_xact_id()
    WHERE c.stamp >= (SELECT extract(epoch FROM t.tracked_at) * 1000000 FROM p2p.tracked_table AS t WHERE t.id = ${shape.id})
      AND c.stamp > coalesce(pg_sequence_last_value('p2p.forgotten'), 0)
      AND (m.origin = ${own} AND m.stamp >= c.stamp OR (m.past ->> ${own})::int8 >= c.stamp
        OR EXISTS (SELECT FROM jsonb_array_elements(m.siblings) AS e
          WHERE e ->> 'origin' = ${own} AND (e ->> 'stamp')::int8 >= c.stamp OR (e -> 'past' ->> ${own})::int8 >= c.stamp)) IS NOT TRUE
    LIMIT 1`;
}

export function unknownOwn({ shape }: Pick<Stage, 'shape'>, stamp: number, origin: string, sender: string): Problem {
  return new Problem(
    'invalid_version',
    `${sender} has a version of a row of ${shape.name}, ${stamp} of ${origin}, that bears this node's name and that this node does not ` +
      `know. Nothing of the window was applied. If this database was set back, or has lost commits in a crash (fsync or synchronous_commit ` +
      `off), or a copy of it is at work: pgmesh new-incarnation. Otherwise ${sender} is not to be trusted.`,
    { table: shape.name, stamp, origin },
  );
}
