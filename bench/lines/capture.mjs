// @ts-check
import { now, patienceFor, within } from '../deadline.mjs';
import { Load } from '../load.mjs';
import { NodeProcess } from '../node-process.mjs';
import { PostgresServer } from '../postgres.mjs';
import { createTable, deleteFrom, insertBatch, updateFrom } from '../table.mjs';

const tracked = 'public.bench';
const bare = 'public.bare';
/** Slices alternate so that a slow second of the machine falls on both; neither table always goes first. */
const order = [bare, tracked, tracked, bare];
/** Single rows in more and shorter slices: their rate follows the disk, which changes by the second. */
const slices = [...order, ...order];

/** A sum of work and a sum of time, by table. */
class Tally {
  /** @type {Map<string, { count: number, ms: number }>} */
  #sums = new Map([tracked, bare].map((table) => [table, { count: 0, ms: 0 }]));

  /** @param {string} table @param {number} count @param {number} ms */
  add(table, count, ms) {
    const sum = /** @type {{ count: number, ms: number }} */ (this.#sums.get(table));
    sum.count += count;
    sum.ms += ms;
  }

  /** @param {import('../main.mjs').Run} run @param {string} line @param {string} system */
  record({ record }, line, system) {
    for (const [table, { count, ms }] of this.#sums)
      record(line, table === tracked ? system : 'bare', (count / ms) * 1_000);
  }
}

/**
 * What a writer pays for being captured: the same writes on two tables of one database, one of them tracked by a node
 * that has no peer.
 * @param {import('../main.mjs').Run} run
 * @param {typeof import('../system-pgmesh.mjs').pgmesh} system
 */
export async function measureCapture(run, { name, cli }) {
  const { options, teardown, directory, say } = run;
  say(`capture: one server, a tracked table and a bare one of ${options.rows.toLocaleString('en')} rows`);
  const server = await PostgresServer.start(teardown, { name: 'capture', directory, walLevel: 'replica' });
  const writer = await server.connect();
  for (const table of [bare, tracked]) {
    await writer.query(createTable(table));
    await writer.query(insertBatch(table, 'copied', 0), [options.rows]);
    await writer.query(`VACUUM ANALYZE ${table}`);
  }
  const patience = patienceFor(options.rows);
  await NodeProcess.start(teardown, { id: 'a', databaseUrl: server.url, tables: tracked, directory, patience, cli });
  const load = await Load.connect(teardown, { url: server.url, clients: options.clients });
  await singleRows(run, writer, load, name);
  await statements(run, writer, name);
}

/** @param {import('../main.mjs').Run} run @param {import('pg').Client} writer @param {Load} load @param {string} system */
async function singleRows(run, writer, load, system) {
  const { rows, seconds, clients } = run.options;
  const slice = { batch: 'copied', rows, seconds: seconds / slices.length };
  for (const kind of /** @type {const} */ (['update', 'insert', 'delete'])) {
    run.say(`capture: single-row ${kind}s by ${clients} clients`);
    const tally = new Tally();
    await writer.query('CHECKPOINT');
    run.yardstick();
    for (const table of slices) {
      const { count, startedAt, endedAt } = await load.run({ kind, table, ...slice });
      if (count === 0) continue; // Every row that the insert slices made is deleted already.
      tally.add(table, count, endedAt - startedAt);
    }
    tally.record(run, `capture-${kind}`, system);
  }
}

/** @param {import('../main.mjs').Run} run @param {import('pg').Client} writer @param {string} system */
async function statements(run, writer, system) {
  const rows = run.options.statementRows;
  // A batch of its own each time: a key that was deleted and comes back is not the same work as a new one.
  const counter = 10_000_000;
  const texts = {
    insert: (/** @type {string} */ table, /** @type {number} */ i) => insertBatch(table, `statement ${i}`, counter),
    update: (/** @type {string} */ table) => updateFrom(table, counter, 1),
    delete: (/** @type {string} */ table) => deleteFrom(table, counter),
  };
  const tallies = { insert: new Tally(), update: new Tally(), delete: new Tally() };
  run.say(`capture: statements of ${rows.toLocaleString('en')} rows`);
  for (const [i, table] of order.entries()) {
    for (const kind of /** @type {const} */ (['insert', 'update', 'delete'])) {
      await writer.query('CHECKPOINT');
      const startedAt = now();
      const query = writer.query(texts[kind](table, i), kind === 'insert' ? [rows] : []);
      const { rowCount } = await within(patienceFor(rows), `one ${kind} of ${rows} rows in ${table}`, query);
      if (rowCount !== rows) throw new Error(`one ${kind} in ${table} was to write ${rows} rows and wrote ${rowCount}`);
      tallies[kind].add(table, rows, now() - startedAt);
    }
  }
  for (const [kind, tally] of Object.entries(tallies)) tally.record(run, `capture-statement-${kind}`, system);
}
