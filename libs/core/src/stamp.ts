/**
 * Hybrid logical stamps, one per row version.
 *
 * A stamp is one integer: microseconds since 1970 by the writer's clock, or one more than the row's former stamp where that
 * is larger. It stays below 2^53 until the year 2255, so a JavaScript number holds it exactly and a person can read it as a
 * time. Source: Kulkarni et al., "Logical Physical Clocks" (2014), with the counter folded into the microseconds.
 */
export type Stamp = number;

/** A clock as the pure core sees it: the time in microseconds since 1970. */
export type Clock = () => Stamp;

/** The stamp of a write at `now` on a row whose newest known version has `previous`: it never falls, whatever the clock does. */
export function nextStamp(now: Stamp, previous: Stamp | null): Stamp {
  return previous === null ? now : Math.max(now, previous + 1);
}

/** A stamp that lies further ahead of our clock than we allow. Both figures are in microseconds. */
export interface Drift {
  readonly stamp: Stamp;
  readonly ahead: number;
  readonly allowed: number;
}

/** How far `stamp` lies ahead of `now`, when that is more than `allowed` (all µs); null when it is acceptable. */
export function excessiveDrift(stamp: Stamp, now: Stamp, allowed: number): Drift | null {
  const ahead = stamp - now;
  return ahead > allowed ? { stamp, ahead, allowed } : null;
}

/** The stamp as a person reads it: ISO 8601 in UTC with milliseconds. */
export function stampToIso(stamp: Stamp): string {
  return new Date(stamp / 1000).toISOString();
}
