// @ts-check
// pgmesh beside PostgreSQL's own logical replication, in one run on one machine. docs/performance.md says what is
// measured and how to read it.
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { measureCapture } from './lines/capture.mjs';
import { measureMemory } from './lines/memory.mjs';
import { measureReplication } from './lines/replication.mjs';
import { describeMachine } from './machine.mjs';
import { judge } from './measures.mjs';
import { readOptions, usage } from './options.mjs';
import { drawPicture } from './picture.mjs';
import { reportTable, summary } from './report.mjs';
import { native } from './system-native.mjs';
import { pgmesh, pgmeshOf } from './system-pgmesh.mjs';
import { endOnSignals, Teardown } from './teardown.mjs';
import { Yardstick } from './yardstick.mjs';

/**
 * What every line is given.
 * @typedef {object} Run
 * @property {import('./options.mjs').Options} options
 * @property {Teardown} teardown
 * @property {string} directory for data and logs; removed at the end
 * @property {(text: string) => void} say progress, on standard error
 * @property {(measure: string, system: string, value: number) => void} record
 * @property {(step: string, take: () => Promise<void>) => Promise<boolean>} attempt a step of its own, whose failure is
 *   told at the end and leaves the others to go on
 * @property {() => void} yardstick measures the disk
 */

const out = fileURLToPath(new URL('./out/', import.meta.url));

/**
 * Each part starts servers of its own and leaves none. Who goes first changes from round to round: the first is slower
 * on a machine that had been idle.
 * @param {import('./options.mjs').Options} options
 * @returns {{ name: string, measure: (run: Run) => Promise<void> }[]}
 */
function plan({ only, rounds, systems: names, against }) {
  const before = against === undefined ? undefined : pgmeshOf(against);
  const systems = [before ?? native, pgmesh].filter((system) => system === before || names.includes(system.name));
  const captured = names.includes('pgmesh') ? [pgmesh, ...(before ? [before] : [])] : [];
  const round = (/** @type {number} */ number) => {
    const inTurn = (/** @type {typeof systems} */ list) => (number % 2 === 0 ? list : list.toReversed());
    const replication = {
      name: 'replication',
      measure: (/** @type {Run} */ run) => measureReplication(run, inTurn(systems)),
    };
    const capture = inTurn(captured).map((system) => ({
      name: `capture by ${system.name}`,
      measure: (/** @type {Run} */ run) => measureCapture(run, system),
    }));
    return [
      ...(only.some((line) => line !== 'capture' && line !== 'memory') ? [replication] : []),
      ...(only.includes('capture') ? capture : []),
    ];
  };
  const memory =
    only.includes('memory') && names.includes('pgmesh') ? [{ name: 'memory', measure: measureMemory }] : [];
  return [...Array.from({ length: rounds }, (_, number) => round(number)).flat(), ...memory];
}

/** @param {import('./options.mjs').Options} options @param {Teardown} teardown */
async function bench(options, teardown) {
  const machine = describeMachine();
  const startedAt = new Date();
  const seconds = () => ((Date.now() - startedAt.getTime()) / 1_000).toFixed(0).padStart(4);
  const directory = mkdtempSync(join(tmpdir(), 'pgmesh-bench-'));
  teardown.directory(directory);
  /** @type {Map<string, Record<string, number[]>>} */
  const samples = new Map();
  /** @type {{ step: string, error: string }[]} */
  const errors = [];
  const yardstick = new Yardstick(directory);
  /** @type {Run} */
  const run = {
    options,
    teardown,
    directory,
    say: (text) => console.error(`${seconds()} s  ${text}`),
    record(measure, system, value) {
      const bySystem = samples.get(measure) ?? {};
      samples.set(measure, { ...bySystem, [system]: [...(bySystem[system] ?? []), value] });
    },
    async attempt(step, take) {
      if (teardown.ending) return false;
      try {
        run.say(step);
        await take();
        return true;
      } catch (error) {
        if (teardown.ending) return false; // Ctrl-C took the servers away: that is no failure of the step.
        errors.push({ step, error: error instanceof Error ? error.message : String(error) });
        run.say(`FAILED  ${step}: ${errors.at(-1)?.error}`);
        keepLogs(directory);
        return false;
      }
    },
    yardstick: () => yardstick.measure(),
  };
  for (const { name, measure } of plan(options)) {
    const mark = teardown.mark;
    await run.attempt(name, () => measure(run));
    if (teardown.ending) break;
    await teardown.release(mark);
  }
  const load = { before: machine.loadBefore, after: loadavg().map((value) => Number(value.toFixed(2))) };
  return {
    startedAt,
    finishedAt: new Date(),
    machine,
    load,
    options,
    disk: yardstick,
    results: judge(samples, options.against === undefined ? undefined : 'before'),
    errors,
  };
}

/** The nodes' logs outlive the run's directory when a step has failed. @param {string} directory */
function keepLogs(directory) {
  const logs = readdirSync(directory).filter((name) => name.endsWith('.log'));
  mkdirSync(out, { recursive: true });
  for (const name of logs) copyFileSync(join(directory, name), join(out, name));
  if (logs.length > 0) console.error(`        logs kept: ${logs.map((name) => `bench/out/${name}`).join(', ')}`);
}

/** @param {Awaited<ReturnType<typeof bench>>} report */
function caption({ machine, options, startedAt }) {
  const versions = `pgmesh ${machine.pgmesh}, PostgreSQL ${machine.postgresql}, Node ${machine.node}`;
  return `${versions} · ${machine.cores} cores · ${options.rows.toLocaleString('en')} rows, medians of ${options.rounds} · ${startedAt.toISOString().slice(0, 10)}`;
}

/** @param {Awaited<ReturnType<typeof bench>>} report */
function publish(report) {
  const { machine, load, disk, results, errors } = report;
  mkdirSync(out, { recursive: true });
  const json = `${JSON.stringify(report, null, 2)}\n`;
  const picture = drawPicture(results, caption(report));
  const stamp = report.startedAt.toISOString().replace(/[:.]/g, '-');
  for (const name of [stamp, 'latest']) {
    writeFileSync(join(out, `${name}.json`), json);
    writeFileSync(join(out, `${name}.svg`), picture);
  }
  console.log(`\n${caption(report)}`);
  console.log(
    `${machine.processor}, ${machine.memoryGB} GB, ${machine.system}; load ${load.before[0]} before, ${load.after[0]} after`,
  );
  console.log(disk.describe());
  console.log(`\n${reportTable(results)}\n\n${summary(results)}`);
  for (const { step, error } of errors) console.log(`\nFAILED  ${step}: ${error}`);
  console.log(`\nwritten: bench/out/${stamp}.json and .svg, also as latest.json and latest.svg`);
}

async function main() {
  const options = readOptions(process.argv.slice(2));
  if (options === 'help') return console.log(usage);
  const teardown = new Teardown();
  endOnSignals(teardown);
  const report = await bench(options, teardown);
  await teardown.end();
  publish(report);
  process.exitCode = report.errors.length > 0 ? 1 : 0;
}

main().catch((error) => {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
});
