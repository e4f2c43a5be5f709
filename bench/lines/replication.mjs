// @ts-check
import { Pair } from './pair.mjs';

/**
 * The life of a table between two servers. A step is taken by every pair in turn before the next step, so that what is
 * compared is measured within seconds; `slices` more than one take turns that often (a b b a …).
 * @typedef {object} Step
 * @property {string} title
 * @property {string[]} for the lines that need it: their own figures, or the volume that it makes
 * @property {number} [slices]
 * @property {(pair: Pair, run: import('../main.mjs').Run) => Promise<void>} take
 */

const replicated = ['first-copy', 'big-insert', 'big-update', 'sustained', 'latency'];

/** @type {Step[]} */
const steps = [
  {
    title: 'first copy',
    for: replicated,
    take: async (pair, { options: { rows }, record }) =>
      record('first-copy', pair.name, perSecond(rows, await pair.firstCopy(rows))),
  },
  {
    title: 'latency on the fresh table',
    for: ['latency'],
    take: (pair, run) => takeLatencies(pair, run, 'fresh'),
  },
  {
    title: 'one transaction of inserts',
    for: ['big-insert', 'big-update', 'sustained', 'latency'],
    take: async (pair, { options: { rows }, record }) =>
      record('big-insert', pair.name, perSecond(rows, await pair.bigInsert(rows))),
  },
  {
    title: 'one transaction of updates',
    for: ['big-update', 'latency'],
    take: async (pair, { options: { rows }, record }) =>
      record('big-update', pair.name, perSecond(rows, await pair.bigUpdate(rows))),
  },
  {
    title: 'single-row updates',
    for: ['sustained', 'latency'],
    slices: 2,
    take: async (pair, { options: { rows, seconds }, record }) =>
      record('sustained', pair.name, await pair.sustainedUpdates(rows, seconds / 2)),
  },
  {
    title: 'latency after that volume',
    for: ['latency'],
    take: (pair, run) => takeLatencies(pair, run, 'after'),
  },
  { title: 'both tables compared', for: replicated, take: (pair) => pair.compare() },
];

/** @param {number} rows @param {number} ms */
const perSecond = (rows, ms) => (rows / ms) * 1_000;

/** @param {Pair} pair @param {import('../main.mjs').Run} run @param {'fresh' | 'after'} when */
async function takeLatencies(pair, { options, record }, when) {
  const sorted = await pair.latencies(options.rows, options.latencies);
  const at = (/** @type {number} */ share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  record(`latency-${when}-p50`, pair.name, at(0.5));
  record(`latency-${when}-p99`, pair.name, at(0.99));
  record(`latency-${when}-max`, pair.name, at(1));
}

/**
 * All that is compared between two servers joined by one system and by another.
 * @param {import('../main.mjs').Run} run
 * @param {import('../system-native.mjs').System[]} systems
 */
export async function measureReplication(run, systems) {
  const { options, attempt } = run;
  /** @type {Pair[]} */
  let pairs = [];
  for (const system of systems) {
    await attempt(`${system.name}: start`, async () => {
      pairs.push(await Pair.start(run, system, options.rows));
    });
  }
  for (const step of steps.filter((each) => each.for.some((line) => options.only.includes(line)))) {
    for (let slice = 0; slice < (step.slices ?? 1); slice++) {
      for (const pair of pairs) {
        run.yardstick();
        const done = await attempt(`${pair.name}: ${step.title}`, () => step.take(pair, run));
        // What follows a failed step would measure its consequences.
        if (!done) pairs = pairs.filter((other) => other !== pair);
      }
      // Neither always goes first: a machine that tires or warms up shall favour none.
      pairs = [...pairs].reverse();
    }
  }
}
