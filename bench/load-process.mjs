// @ts-check
// The load: some clients, each with a connection of its own, one statement a transaction, prepared, without a pause.
// A process of its own, so that what it does never delays a measurement. It is spoken to by IPC alone.
import { randomInt, randomUUID } from 'node:crypto';
import pg from 'pg';
import { now } from './deadline.mjs';
import { deleteOne, insertOne, keyOf, updateOne } from './table.mjs';

/** @type {pg.Client[]} */
const clients = [];
/** Keys that were inserted and not yet deleted, by table. @type {Map<string, string[]>} */
const inserted = new Map();

/** @param {{ url: string, count: number }} connect */
async function connect({ url, count }) {
  for (let i = 0; i < count; i++) {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
    client.on('error', (error) => console.error(`a load client lost its connection: ${error.message}`));
    await client.connect();
    clients.push(client);
  }
}

/**
 * Gives the next key to write, or undefined when there is nothing left to do.
 * @typedef {{ text: string, key: () => string | undefined, done: (key: string) => void }} Operation
 */

/** @param {{ kind: 'update' | 'insert' | 'delete', table: string, batch: string, rows: number }} load @returns {Operation} */
function operation({ kind, table, batch, rows }) {
  const keys = inserted.get(table) ?? [];
  inserted.set(table, keys);
  switch (kind) {
    case 'update':
      return { text: updateOne(table), key: () => keyOf(batch, randomInt(1, rows + 1)), done: () => {} };
    case 'insert':
      return { text: insertOne(table), key: () => randomUUID(), done: (key) => keys.push(key) };
    case 'delete':
      return { text: deleteOne(table), key: () => keys.pop(), done: () => {} };
  }
}

/** @param {{ kind: 'update' | 'insert' | 'delete', table: string, batch: string, rows: number, seconds: number }} load */
async function run(load) {
  const { text, key, done } = operation(load);
  const name = `${load.kind} ${load.table}`;
  const startedAt = now();
  const until = startedAt + load.seconds * 1_000;
  let count = 0;
  const work = clients.map(async (client) => {
    for (let next; now() < until && (next = key()) !== undefined; count++) {
      const { rowCount } = await client.query({ name, text, values: [next] });
      if (rowCount !== 1) throw new Error(`${load.kind} of row ${next} in ${load.table} changed ${rowCount} rows`);
      done(next);
    }
  });
  await Promise.all(work);
  return { count, startedAt, endedAt: now() };
}

const orders = { connect, run };

process.on('message', async (/** @type {{ order: 'connect' | 'run', argument: any }} */ { order, argument }) => {
  try {
    process.send?.({ answer: await orders[order](argument) });
  } catch (error) {
    process.send?.({ error: error instanceof Error ? error.message : String(error) });
  }
});
process.on('disconnect', () => process.exit(0));
