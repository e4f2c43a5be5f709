// @ts-check
// How often rows cross a mesh of real nodes, and what a mesh at rest says. docs/performance.md has the figures.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { describeMachine } from '../machine.mjs';
import { endOnSignals, Teardown } from '../teardown.mjs';
import { measureCrowd } from './crowd.mjs';
import { LiveMesh } from './live-mesh.mjs';
import { measureReach } from './reach.mjs';
import { topologies } from './topology.mjs';
import { workloads } from './workloads.mjs';

const usage = `npm run bench:mesh -- [flags]
  --topology a,b   of ${Object.keys(topologies).join(', ')}
  --only a,b       of ${Object.keys(workloads).join(', ')}, rest; and of reach, crowd, which have nodes of their own
  --nodes N        (8)
  --seconds N      of sustained writes (10)
  --rest N         seconds for which the mesh is watched at rest (20)
  --interval N     P2P_SYNC_INTERVAL of the nodes, in seconds (10)
  --help`;

/** @param {string} flag @param {string | undefined} text @param {string[]} known */
function choice(flag, text, known) {
  const chosen = text?.split(',') ?? known;
  const unknown = chosen.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`--${flag} does not know "${unknown}"; it knows ${known.join(', ')}`);
  return chosen;
}

function readOptions() {
  const text = /** @type {const} */ ({ type: 'string' });
  const { values } = parseArgs({
    options: {
      topology: text,
      only: text,
      nodes: { ...text, default: '8' },
      seconds: { ...text, default: '10' },
      rest: { ...text, default: '20' },
      interval: { ...text, default: '10' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return null;
  return {
    topologies: choice('topology', values.topology, Object.keys(topologies)),
    only: choice('only', values.only, [...Object.keys(workloads), 'rest', 'reach', 'crowd']),
    nodes: Number(values.nodes),
    seconds: Number(values.seconds),
    rest: Number(values.rest),
    interval: Number(values.interval),
  };
}

/** @typedef {NonNullable<ReturnType<typeof readOptions>>} Options */

/** @param {LiveMesh} mesh @param {Options} options @param {(line: string[]) => void} tell */
async function measure(mesh, { only, seconds, rest }, tell) {
  for (const [name, { title, write }] of Object.entries(workloads)) {
    if (!only.includes(name)) continue;
    await mesh.still();
    const before = { ...mesh.received, bytes: mesh.bytes };
    const written = await write(mesh, seconds);
    await mesh.equal();
    await mesh.still();
    const { rows, windows } = mesh.received;
    const ideal = written * (mesh.sites.length - 1);
    const ratio = (rows - before.rows) / ideal;
    const bytes = (mesh.bytes - before.bytes) / ideal;
    tell([title, String(written), ratio.toFixed(2), ((windows - before.windows) / ideal).toFixed(2), bytes.toFixed(0)]);
  }
  if (!only.includes('rest')) return;
  await mesh.still();
  const before = { rows: mesh.received.rows, bytes: mesh.bytes };
  await pause(rest * 1_000);
  const rows = mesh.received.rows - before.rows;
  const bytes = (mesh.bytes - before.bytes) / mesh.proxies.length / rest;
  tell([`at rest: ${rows} rows, ${bytes.toFixed(0)} bytes a second and link`, '', '', '', '']);
}

/** @param {Options} options @param {{ teardown: Teardown, directory: string }} run */
async function measureOthers({ only }, run) {
  const mark = run.teardown.mark;
  if (only.includes('reach')) {
    const lines = [['from commit to visible, ms', 'both dial', 'one dials', 'ratio']];
    await measureReach(run, 60, (line) => lines.push(line));
    console.log(`${table(lines)}\n`);
    await run.teardown.release(mark);
  }
  if (only.includes('crowd')) {
    const lines = [['P2P_LINKS=4, found by mDNS', '']];
    await measureCrowd(run, { nodes: 12, links: 4 }, (line) => lines.push(line));
    console.log(`${table(lines)}\n`);
    await run.teardown.release(mark);
  }
}

/** @param {string[][]} lines */
function table(lines) {
  const widths = lines[0].map((_, i) => Math.max(...lines.map((line) => line[i].length)));
  const line = (/** @type {string[]} */ cells) => `| ${cells.map((cell, i) => cell.padEnd(widths[i])).join(' | ')} |`;
  return [line(lines[0]), line(widths.map((width) => '-'.repeat(width))), ...lines.slice(1).map(line)].join('\n');
}

async function main() {
  const options = readOptions();
  if (options === null) return console.log(usage);
  const teardown = new Teardown();
  endOnSignals(teardown);
  const directory = mkdtempSync(join(tmpdir(), 'pgmesh-bench-'));
  teardown.directory(directory);
  const lines = [['topology', 'writes', 'rows', 'rows sent per row and node', 'windows per row and node', 'bytes per row and node']]; // prettier-ignore
  const env = { P2P_SYNC_INTERVAL: `${options.interval}s`, P2P_LINKS: 'all' };
  try {
    for (const name of options.only.some((one) => one !== 'reach' && one !== 'crowd') ? options.topologies : []) {
      const mark = teardown.mark;
      const topology = topologies[name](options.nodes);
      console.error(`${topology.name} of ${options.nodes}`);
      const mesh = await LiveMesh.start({ teardown, directory }, topology, env);
      await measure(mesh, options, (line) => {
        lines.push([`${topology.name} of ${options.nodes}`, ...line]);
        console.error(`  ${line.join('  ')}`);
      });
      await teardown.release(mark);
    }
    await measureOthers(options, { teardown, directory });
  } finally {
    await teardown.end();
  }
  const { pgmesh, postgresql, node } = describeMachine();
  if (lines.length > 1) console.log(`pgmesh ${pgmesh}, PostgreSQL ${postgresql}, Node ${node}\n\n${table(lines)}`);
}

main().catch((error) => {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
});
