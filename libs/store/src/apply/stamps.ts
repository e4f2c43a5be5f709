import { excessiveDrift, stampToIso } from '@pgmesh/core';
import { Problem } from '@pgmesh/wire';
import type { PoolClient } from 'pg';
import { prepared } from '../prepared';
import type { Stage } from './stage';

/**
 * Refuses a window that has a version stamped further ahead than we allow (trap 6): once in, such a row could be changed by
 * nobody else for that long. Local stamps do not move by what is refused, nor by what is accepted: they are per row.
 */
export async function checkStamps(
  client: PoolClient,
  stage: Stage,
  sender: string,
  { maxDrift }: { readonly maxDrift: number },
): Promise<void> {
  const text = `SELECT max(s.v1) AS stamp, max(p2p.highest_stamp(s.v6)) AS sibling, p2p.clock() AS now FROM (${stage.source}) AS s`;
  const values = [...stage.literals];
  const { rows } = await client.query<{ stamp: number | null; sibling: number | null; now: number }>(
    values.length > 0 ? prepared(text, values) : { text, values },
  );
  const { stamp, sibling, now } = rows[0]!;
  const drift = excessiveDrift(Math.max(stamp ?? 0, sibling ?? 0), now, maxDrift);
  if (!drift) return;
  throw new Problem(
    'clock_drift',
    `A version of ${stage.shape.name} from ${sender} is stamped ${stampToIso(drift.stamp)}, ${(drift.ahead / 1e6).toFixed(1)} s ahead of ` +
      `this node's clock; ${drift.allowed / 1e6} s are allowed. Set the clocks right (NTP), or raise P2P_MAX_DRIFT.`,
    { table: stage.shape.name, ahead_seconds: drift.ahead / 1e6, allowed_seconds: drift.allowed / 1e6 },
  );
}
