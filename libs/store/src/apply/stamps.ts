import { excessiveDrift, type Stamp, stampToIso } from '@pgmesh/core';
import { Problem } from '@pgmesh/wire';
import type { Stage } from './stage';

/**
 * Refuses a window that has a version stamped further ahead than we allow (trap 6): once in, such a row could be changed by
 * nobody else for that long. Local stamps do not move by what is refused, nor by what is accepted: they are per row.
 */
export function checkStamps(
  stage: Stage,
  highest: Stamp,
  now: Stamp,
  { sender, maxDrift }: { readonly sender: string; readonly maxDrift: number },
): void {
  const drift = excessiveDrift(highest, now, maxDrift);
  if (!drift) return;
  throw new Problem(
    'clock_drift',
    `A version of ${stage.shape.name} from ${sender} is stamped ${stampToIso(drift.stamp)}, ${(drift.ahead / 1e6).toFixed(1)} s ahead of ` +
      `this node's clock; ${drift.allowed / 1e6} s are allowed. Set the clocks right (NTP), or raise P2P_MAX_DRIFT.`,
    { table: stage.shape.name, ahead_seconds: drift.ahead / 1e6, allowed_seconds: drift.allowed / 1e6 },
  );
}
