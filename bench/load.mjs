// @ts-check
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { within } from './deadline.mjs';
import { endChild } from './teardown.mjs';

/** @typedef {{ count: number, startedAt: number, endedAt: number }} Done moments on the shared monotonic clock, in ms */

/** Clients that write single rows as fast as they are answered, in a process of their own. */
export class Load {
  /** @param {import('node:child_process').ChildProcess} child */
  constructor(child) {
    this.child = child;
  }

  /** @param {import('./teardown.mjs').Teardown} teardown @param {{ url: string, clients: number }} to */
  static async connect(teardown, { url, clients }) {
    const child = fork(fileURLToPath(new URL('./load-process.mjs', import.meta.url)), { detached: true });
    teardown.child(child);
    teardown.defer('the load', () => endChild(child, 'SIGTERM', 'the load'));
    const load = new Load(child);
    await within(15_000, `${clients} load clients to connect`, load.#order('connect', { url, count: clients }));
    return load;
  }

  /**
   * @param {{ kind: 'update' | 'insert' | 'delete', table: string, batch: string, rows: number, seconds: number }} load
   * @returns {Promise<Done>}
   */
  run(load) {
    const what = `${load.seconds} s of single-row ${load.kind}s on ${load.table} to end`;
    return within(load.seconds * 1_000 + 30_000, what, this.#order('run', load));
  }

  /** @param {string} order @param {object} argument @returns {Promise<any>} */
  #order(order, argument) {
    return new Promise((resolve, reject) => {
      const onExit = (/** @type {number | null} */ code) => reject(new Error(`the load process ended (${code})`));
      this.child.once('exit', onExit);
      this.child.once('message', (/** @type {{ answer?: any, error?: string }} */ { answer, error }) => {
        this.child.off('exit', onExit);
        if (error) reject(new Error(`load: ${error}`));
        else resolve(answer);
      });
      this.child.send({ order, argument });
    });
  }
}
