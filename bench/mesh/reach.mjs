// @ts-check
import { setTimeout as pause } from 'node:timers/promises';
import { now, Overdue } from '../deadline.mjs';
import { median } from '../measures.mjs';
import { LiveMesh } from './live-mesh.mjs';

/** @typedef {import('./topology.mjs').Topology} Topology */

/** @type {Record<'two ways' | 'one way', Topology>} */
const pairs = {
  'two ways': { name: 'two ways', nodes: 2, links: [[0, 1], [1, 0]] }, // prettier-ignore
  'one way': { name: 'one way', nodes: 2, links: [[0, 1]] },
};

/**
 * What it costs that only one of two nodes can dial the other: from commit to visible, in both directions, beside a pair that dials
 * both ways, in turns.
 * @param {{ teardown: import('../teardown.mjs').Teardown, directory: string }} run
 * @param {number} rounds
 * @param {(line: string[]) => void} tell
 */
export async function measureReach(run, rounds, tell) {
  const meshes = [];
  for (const [name, topology] of Object.entries(pairs)) {
    meshes.push({ name, mesh: await LiveMesh.start(run, topology, { P2P_SYNC_INTERVAL: '60s' }) });
  }
  /** @type {Map<string, number[]>} */
  const taken = new Map();
  for (let round = 0; round < rounds; round++) {
    for (const { name, mesh } of meshes) {
      for (const [what, from, to] of /** @type {const} */ ([
        ['dialling', 0, 1],
        ['dialled', 1, 0],
      ])) {
        // prettier-ignore
        await pause(20 + Math.random() * 20);
        const ms = await latency(mesh.sites[from], mesh.sites[to], `reach ${what} ${round}`);
        const key = `${name}, by the one that is ${what}`;
        taken.set(key, [...(taken.get(key) ?? []), ms]);
      }
    }
  }
  for (const what of ['dialling', 'dialled']) {
    const of = (/** @type {string} */ name) => median(taken.get(`${name}, by the one that is ${what}`) ?? []) ?? NaN;
    tell([`written by the one that is ${what}`, of('two ways').toFixed(1), of('one way').toFixed(1), (of('one way') / of('two ways')).toFixed(2)]); // prettier-ignore
  }
}

/** @param {import('./site.mjs').Site} from @param {import('./site.mjs').Site} to @param {string} key */
async function latency(from, to, key) {
  await from.database.query('INSERT INTO items VALUES ($1, $1)', [key]);
  const committed = now();
  while ((await to.database.query('SELECT FROM items WHERE id = $1', [key])).rowCount === 0) {
    if (now() - committed > 60_000) throw new Overdue(`${key} to be visible`, 60_000);
  }
  return now() - committed;
}
