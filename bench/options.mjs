// @ts-check
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

export const lines = ['first-copy', 'big-insert', 'big-update', 'sustained', 'latency', 'capture', 'memory'];
const systems = ['native', 'pgmesh'];

/**
 * @typedef {object} Options
 * @property {number} rows of the first copy and of each big transaction
 * @property {number} seconds of sustained updates by each system, and of each kind of write when capture is measured
 * @property {number} rounds all lines but memory are measured this often; figures are medians
 * @property {number} clients of the single-row loads
 * @property {number} latencies how many updates are timed
 * @property {number} statementRows rows of capture's large statements
 * @property {number} memoryRows rows that are copied while memory is watched
 * @property {string[]} only the lines to measure
 * @property {string[]} systems to compare
 * @property {string | undefined} against another checkout of pgmesh, to compare with in place of native replication
 */

export const usage = `npm run bench -- [flags]
  --rows N           rows of the first copy and of each big transaction (200000)
  --seconds N        length of each single-row load, taken in slices (8)
  --rounds N         measure so often, native and pgmesh in turn; figures are medians (3)
  --only a,b         of ${lines.join(', ')}
  --systems a,b      of ${systems.join(', ')}: one alone has no ratio
  --against DIR      compare with the pgmesh of another checkout, built, in place of native replication
  --memory-rows N    rows copied while memory is watched (1000000)
  --skip-memory      leave the memory line out
  --quick            small sizes and one round, to see that it runs; its figures mean little
  --help`;

/** @param {string} flag @param {string | undefined} text @param {number} otherwise */
function count(flag, text, otherwise) {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${flag} takes a whole number above 0, not "${text}"`);
  return value;
}

/** @param {string} flag @param {string | undefined} text @param {string[]} known */
function choice(flag, text, known) {
  const chosen = text?.split(',').map((name) => name.trim()) ?? known;
  const unknown = chosen.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`--${flag} does not know "${unknown}"; it knows ${known.join(', ')}`);
  return chosen;
}

/** @param {string | undefined} text */
function checkout(text) {
  if (text === undefined) return undefined;
  const directory = resolve(text);
  if (existsSync(join(directory, 'dist/apps/cli/src/main.js'))) return directory;
  throw new Error(`--against ${text}: there is no built pgmesh. Run npm ci and npm run build there`);
}

/** @param {string[]} args @returns {Options | 'help'} */
export function readOptions(args) {
  const text = /** @type {const} */ ({ type: 'string' });
  const yes = /** @type {const} */ ({ type: 'boolean', default: false });
  const { values } = parseArgs({
    args,
    options: {
      rows: text,
      seconds: text,
      rounds: text,
      only: text,
      systems: text,
      against: text,
      'memory-rows': text,
      'skip-memory': yes,
      quick: yes,
      help: yes,
    },
  });
  if (values.help) return 'help';
  const { quick } = values;
  const rows = count('rows', values.rows, quick ? 20_000 : 200_000);
  const only = choice('only', values.only, lines);
  return {
    rows,
    seconds: count('seconds', values.seconds, quick ? 2 : 8),
    rounds: count('rounds', values.rounds, quick ? 1 : 3),
    clients: 4,
    latencies: quick ? 50 : 300,
    statementRows: Math.ceil(rows / 2),
    memoryRows: count('memory-rows', values['memory-rows'], quick ? 100_000 : 1_000_000),
    only: values['skip-memory'] ? only.filter((line) => line !== 'memory') : only,
    systems: choice('systems', values.systems, systems),
    against: checkout(values.against),
  };
}
