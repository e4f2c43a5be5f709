// @ts-check
import { setTimeout as pause } from 'node:timers/promises';
import { now, patienceFor, within } from '../deadline.mjs';
import { Load } from '../load.mjs';
import { PostgresServer } from '../postgres.mjs';
import { createTable, digest, insertBatch, keyOf, spreadKeys, updateFrom, updateOne } from '../table.mjs';
import { Watcher } from '../watcher.mjs';

const table = 'public.bench';
/** Rows of the big transactions are told by their counter from those of the first copy, whose counters stay small. */
const inserted = 1_000_000;
const updated = 2_000_000;

/** A source with rows in its table, a receiver with an empty one, and a system to join them. */
export class Pair {
  /**
   * @param {string} name the system's
   * @param {import('pg').Client} writer at the source
   * @param {import('pg').Client} reader at the receiver, for watching alone
   * @param {import('../system-native.mjs').Link} link
   * @param {Load} load at the source
   */
  constructor(name, writer, reader, link, load) {
    this.name = name;
    this.writer = writer;
    this.reader = reader;
    this.link = link;
    this.load = load;
    this.watcher = new Watcher(reader, () => link.inspect());
  }

  /**
   * All that comes before the clock starts.
   * @param {import('../main.mjs').Run} run
   * @param {import('../system-native.mjs').System} system
   * @param {number} rows
   */
  static async start({ teardown, directory, say, options }, system, rows) {
    const { name, walLevel } = system;
    say(`${name}: two servers, ${rows.toLocaleString('en')} rows`);
    const source = await PostgresServer.start(teardown, { name: `${name}-source`, directory, walLevel });
    const receiver = await PostgresServer.start(teardown, { name: `${name}-receiver`, directory, walLevel });
    const writer = await source.connect();
    const reader = await receiver.connect();
    for (const client of [writer, reader]) await client.query(createTable(table));
    const fill = writer.query(insertBatch(table, 'copied', 0), [rows]);
    await within(patienceFor(rows), `${rows} rows to be inserted into the source`, fill);
    await writer.query(`VACUUM ANALYZE ${table}`);
    const link = await system.prepare({ source, receiver, directory, teardown }, table);
    const load = await Load.connect(teardown, { url: source.url, clients: options.clients });
    return new Pair(name, writer, reader, link, load);
  }

  /** Joins the pair; milliseconds until all rows are visible at the receiver. @param {number} rows */
  async firstCopy(rows) {
    for (const client of [this.writer, this.reader]) await client.query('CHECKPOINT');
    const probe = spreadKeys('copied', rows);
    const startedAt = now();
    const [visibleAt] = await Promise.all([
      this.watcher.whenAllVisible(`the first copy of ${rows} rows`, patienceFor(rows), {
        probe: {
          text: `SELECT count(*) AS n FROM ${table} WHERE id = ANY($1::uuid[])`,
          values: [probe],
          expected: String(probe.length),
        },
        whole: { text: `SELECT count(*) AS n FROM ${table}`, expected: String(rows) },
      }),
      this.link.join(),
    ]);
    await this.link.settle();
    return visibleAt - startedAt;
  }

  /** One transaction of so many inserts; milliseconds from its commit until all are visible. @param {number} rows */
  bigInsert(rows) {
    const text = insertBatch(table, 'inserted', inserted);
    return this.#transaction(`one transaction of ${rows} inserts`, { text, values: [rows], rows, counter: inserted });
  }

  /** One transaction that updates the rows of bigInsert, likewise. @param {number} rows */
  bigUpdate(rows) {
    const text = updateFrom(table, inserted, updated - inserted);
    return this.#transaction(`one transaction updating ${rows} rows`, { text, values: [], rows, counter: updated });
  }

  /**
   * @param {string} what
   * @param {{ text: string, values: unknown[], rows: number, counter: number }} change
   */
  async #transaction(what, { text, values, rows, counter }) {
    await this.writer.query('CHECKPOINT');
    await this.writer.query('BEGIN');
    const written = this.writer.query(text, values);
    const { rowCount } = await within(patienceFor(rows), `${what} to be written at the source`, written);
    if (rowCount !== rows) throw new Error(`${what} wrote ${rowCount} rows`);
    await this.writer.query('COMMIT');
    const committedAt = now();
    const probe = spreadKeys('inserted', rows);
    const visibleAt = await this.watcher.whenAllVisible(what, patienceFor(rows), {
      probe: {
        text: `SELECT count(*) AS n FROM ${table} WHERE id = ANY($1::uuid[]) AND counter >= $2`,
        values: [probe, counter],
        expected: String(probe.length),
      },
      whole: {
        text: `SELECT count(*) AS n FROM ${table} WHERE counter >= $1`,
        values: [counter],
        expected: String(rows),
      },
    });
    return visibleAt - committedAt;
  }

  /**
   * Single-row updates for some seconds, as fast as the clients are answered: updates per second over the time from the
   * first until the receiver shows the last, so that what it fell behind is paid for. The last is a row of bigInsert.
   * @param {number} rows @param {number} seconds
   */
  async sustainedUpdates(rows, seconds) {
    const sum = `SELECT sum(counter) AS n FROM ${table}`;
    await this.writer.query('CHECKPOINT');
    const { count, startedAt } = await this.load.run({ kind: 'update', table, batch: 'copied', rows, seconds });
    const last = keyOf('inserted', 1);
    const answer = await this.writer.query(`${updateOne(table)} RETURNING counter`, [last]);
    const what = `the last of ${count + 1} single-row updates`;
    const visibleAt = await this.watcher.whenAllVisible(what, patienceFor(count), {
      probe: {
        text: `SELECT counter AS n FROM ${table} WHERE id = $1`,
        values: [last],
        expected: String(answer.rows[0].counter),
      },
      whole: { text: sum, expected: async () => String((await this.writer.query(sum)).rows[0].n) },
    });
    return ((count + 1) / (visibleAt - startedAt)) * 1_000;
  }

  /**
   * Milliseconds from the answer to a commit until the receiver shows its row, for single updates at uneven distances.
   * @param {number} rows @param {number} count
   */
  async latencies(rows, count) {
    const update = { name: 'one update', text: `${updateOne(table)} RETURNING counter` };
    const measured = [];
    for (let i = 0; i < count; i++) {
      await pause(10 + Math.random() * 20);
      const key = keyOf('copied', 1 + Math.floor(Math.random() * rows));
      const answer = await this.writer.query({ ...update, values: [key] });
      const committedAt = now();
      const visibleAt = await this.watcher.whenRowReaches(table, key, answer.rows[0].counter, 30_000);
      measured.push(visibleAt - committedAt);
    }
    return measured.sort((a, b) => a - b);
  }

  /** Throws unless both tables are equal: the figures of a copy that is not are worth nothing. */
  async compare() {
    const digests = [this.writer, this.reader].map(
      async (client) => (await client.query(digest(table))).rows[0].digest,
    );
    const [source, receiver] = await Promise.all(digests);
    if (source !== receiver) throw new Error(`the tables differ at the end: source ${source}, receiver ${receiver}`);
  }
}
