// @ts-check
import { rmSync } from 'node:fs';
import { within } from './deadline.mjs';

/**
 * What has been started, given back in the opposite order: at the end of a step, after an error, on Ctrl-C. Should the
 * process end in any other way, `atExit` still kills every child and removes every directory.
 */
export class Teardown {
  /** @type {{ name: string, release: () => Promise<void> }[]} */
  #held = [];
  /** @type {Set<import('node:child_process').ChildProcess>} */
  #children = new Set();
  /** @type {Set<string>} */
  #directories = new Set();

  /** @param {string} name @param {() => Promise<void>} release */
  defer(name, release) {
    this.#held.push({ name, release });
  }

  /** @param {import('node:child_process').ChildProcess} child */
  child(child) {
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
  }

  /** @param {string} path */
  directory(path) {
    this.#directories.add(path);
    this.defer(`directory ${path}`, async () => {
      rmSync(path, { recursive: true, force: true });
      this.#directories.delete(path);
    });
  }

  /** Set once the whole run is being ended: nothing more is to be started. */
  ending = false;

  /** A mark to come back to: releases only what was deferred after it. */
  get mark() {
    return this.#held.length;
  }

  /** @param {number} [mark] */
  async release(mark = 0) {
    while (this.#held.length > mark) {
      const { name, release } = /** @type {{ name: string, release: () => Promise<void> }} */ (this.#held.pop());
      try {
        await within(30_000, `${name} to end`, release());
      } catch (error) {
        console.error(`could not give back ${name}: ${error instanceof Error ? error.message : error}`);
      }
    }
  }

  /** The end of the whole run. */
  async end() {
    this.ending = true;
    await this.release();
  }

  atExit() {
    for (const child of this.#children) child.kill('SIGKILL');
    for (const path of this.#directories) rmSync(path, { recursive: true, force: true });
  }
}

/** Gives everything back on Ctrl-C and its like, and at the end in any case. @param {Teardown} teardown */
export function endOnSignals(teardown) {
  process.on('exit', () => teardown.atExit());
  for (const [signal, code] of /** @type {const} */ ([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ])) {
    process.once(signal, () => {
      console.error(`\n${signal}: stopping all servers and nodes`);
      void teardown.end().finally(() => process.exit(code));
    });
  }
}

/**
 * Ends a child by signal, then by force.
 * @param {import('node:child_process').ChildProcess} child
 * @param {NodeJS.Signals} signal
 * @param {string} name
 */
export async function endChild(child, signal, name) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  try {
    await within(10_000, `${name} to end after ${signal}`, ended);
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}; it is killed`);
    child.kill('SIGKILL');
    await ended;
  }
}
