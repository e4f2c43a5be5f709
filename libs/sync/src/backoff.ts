/** How long to wait between tries, in milliseconds. */
export interface Patience {
  /** What the first wait is drawn from. */
  readonly first: number;
  /** What the waits grow up to. */
  readonly longest: number;
}

/** A number in [0, 1), as `Math.random` gives. */
export type Random = () => number;

/** Waits shorter than this would be a storm when many failed at once and drew low. */
const shortest = 25;

/**
 * The wait before the next try after so many failures in a row: exponential with full jitter, so that many peers of a node
 * that comes back do not return in step. Source: Brooker, "Exponential Backoff And Jitter" (AWS, 2015).
 */
export function retryDelay(failures: number, { first, longest }: Patience, random: Random): number {
  const bound = Math.min(longest, first * 2 ** Math.min(Math.max(failures - 1, 0), 30));
  return Math.max(Math.min(shortest, longest), random() * bound);
}

/** An interval, 20 % shorter to 20 % longer. */
export function jittered(interval: number, random: Random): number {
  return interval * (0.8 + 0.4 * random());
}
