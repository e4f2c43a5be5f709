// @ts-check
import { closeSync, fdatasyncSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { now } from './deadline.mjs';

const page = Buffer.alloc(8_192, 1);
const span = 16 * 1_024 * 1_024;

/**
 * How many pages a second this disk makes durable, one after the other, as a lone committing client would: single-row
 * rates follow it, and on a shared machine it changes by the minute.
 */
export class Yardstick {
  /** @type {number[]} */
  #syncsPerSecond = [];

  /** @param {string} directory */
  constructor(directory) {
    this.file = join(directory, 'yardstick');
    // Of its full size beforehand, as a WAL segment is: a growing file would measure the file system's own log.
    writeFileSync(this.file, Buffer.alloc(span), { flush: true });
  }

  measure(ms = 100) {
    const file = openSync(this.file, 'r+');
    const startedAt = now();
    let count = 0;
    for (; now() - startedAt < ms; count++) {
      writeSync(file, page, 0, page.length, (count * page.length) % span);
      fdatasyncSync(file);
    }
    this.#syncsPerSecond.push(Math.round((count / (now() - startedAt)) * 1_000));
    closeSync(file);
  }

  describe() {
    if (this.#syncsPerSecond.length === 0) return 'disk not measured';
    const [lowest, highest] = [Math.min(...this.#syncsPerSecond), Math.max(...this.#syncsPerSecond)];
    return `disk: ${lowest.toLocaleString('en')} to ${highest.toLocaleString('en')} durable pages a second during the run`;
  }

  toJSON() {
    return { syncsPerSecond: this.#syncsPerSecond };
  }
}
