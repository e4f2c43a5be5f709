// @ts-check
import { clearTimeout } from 'node:timers';

/** Said when a step has taken longer than it may: which step, and what it was waiting for. */
export class Overdue extends Error {
  /** @param {string} what @param {number} ms */
  constructor(what, ms) {
    super(`waited ${Math.round(ms / 1000)} s for ${what}, in vain`);
    this.name = 'Overdue';
  }
}

/**
 * The promise's outcome, or Overdue after `ms`. The promise itself is not cancelled: what it holds is given back by the
 * teardown that follows the error.
 * @template T
 * @param {number} ms
 * @param {string} what
 * @param {Promise<T>} promise
 * @returns {Promise<T>}
 */
export function within(ms, what, promise) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Overdue(what, ms)), ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/**
 * How long a step over so many rows may take: a minute, and 2,000 rows a second beyond it. Far below anything that
 * would still be worth measuring.
 * @param {number} rows
 */
export const patienceFor = (rows) => 60_000 + rows / 2;

/** Milliseconds on the machine's monotonic clock, which all processes share (performance.now() starts with each). */
export const now = () => Number(process.hrtime.bigint() / 1_000n) / 1_000;
