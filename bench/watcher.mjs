// @ts-check
import { setTimeout as pause } from 'node:timers/promises';
import { now, Overdue } from './deadline.mjs';

/**
 * A question that a table answers with one value, `n`, as text.
 * @typedef {{ text: string, values?: unknown[] }} Question
 */

/**
 * Tells when the receiver shows something, by asking it over a connection used for nothing else: the same way for
 * every system, whatever that system itself believes to have done.
 */
export class Watcher {
  /**
   * @param {import('pg').Client} client
   * @param {() => void} inspect throws when waiting has become vain
   */
  constructor(client, inspect) {
    this.client = client;
    this.inspect = inspect;
  }

  /**
   * The moment at which the receiver shows all of a change. `probe` is cheap, some rows by their keys, and asked every
   * 2 ms; once it is satisfied, it and `whole`, which looks at the entire table, are asked within one snapshot, and the
   * moment is that of the probe's answer: a long count is not counted.
   * @param {string} what
   * @param {number} patience in ms
   * @param {{ probe: Question & { expected: string }, whole: Question & { expected: string | (() => Promise<string>) } }} questions
   * @returns {Promise<number>}
   */
  async whenAllVisible(what, patience, { probe, whole }) {
    const deadline = now() + patience;
    let seen = '';
    while (now() < deadline) {
      this.inspect();
      const answer = await this.#ask(probe);
      if (answer !== probe.expected) {
        seen = `its probe of keys answered ${answer} instead of ${probe.expected}`;
        await pause(2);
        continue;
      }
      await this.client.query('BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY');
      const stillThere = await this.#ask(probe);
      const moment = now();
      const expected = typeof whole.expected === 'string' ? whole.expected : await whole.expected();
      const all = await this.#ask(whole);
      await this.client.query('COMMIT');
      if (stillThere === probe.expected && all === expected) return moment;
      seen = `the whole table answered ${all} instead of ${expected}`;
      await pause(20);
    }
    throw new Overdue(`${what} to be visible at the receiver (last seen: ${seen})`, patience);
  }

  /**
   * The moment at which one row has reached `counter`, asked for without a pause.
   * @param {string} table @param {string} key @param {number} counter @param {number} patience
   */
  async whenRowReaches(table, key, counter, patience) {
    const deadline = now() + patience;
    let seen;
    while (now() < deadline) {
      this.inspect();
      const { rows } = await this.client.query({
        name: `row of ${table}`,
        text: `SELECT counter FROM ${table} WHERE id = $1`,
        values: [key],
      });
      seen = rows[0]?.counter;
      if (seen >= counter) return now();
    }
    throw new Overdue(`row ${key} to show counter ${counter} at the receiver (it shows ${seen})`, patience);
  }

  /** @param {Question} question */
  async #ask({ text, values = [] }) {
    const { rows } = await this.client.query(text, values);
    return String(rows[0].n);
  }
}
