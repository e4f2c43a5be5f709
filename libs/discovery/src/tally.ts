/**
 * Warnings that a stranger can provoke, counted: one is told at once, then each time the count has grown tenfold, so
 * that a flood fills neither the log nor, since the reasons are bounded too, the memory.
 */
import type { Warn } from './discovery-source';

const MOST_REASONS = 100;

export class Tally {
  readonly #counts = new Map<string, number>();
  readonly #warn: Warn;

  constructor(warn: Warn) {
    this.#warn = warn;
  }

  count(what: string, detail: string): void {
    const reason = this.#counts.has(what) || this.#counts.size < MOST_REASONS ? what : 'Other oddities were ignored';
    const count = (this.#counts.get(reason) ?? 0) + 1;
    this.#counts.set(reason, count);
    if (/^10*$/.test(String(count))) this.#warn(`${reason} (${detail}; ${count} so far)`);
  }
}
