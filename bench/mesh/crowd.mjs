// @ts-check
import { setTimeout as pause } from 'node:timers/promises';
import { now, Overdue } from '../deadline.mjs';
import { freePort } from '../postgres.mjs';
import { endChild } from '../teardown.mjs';
import { LiveMesh } from './live-mesh.mjs';

/**
 * Many nodes that find each other by mDNS and link to few: how far a write travels, and what becomes of it when nodes die.
 * @param {{ teardown: import('../teardown.mjs').Teardown, directory: string }} run
 * @param {{ nodes: number, links: number }} crowd
 * @param {(line: string[]) => void} tell
 */
export async function measureCrowd(run, { nodes, links }, tell) {
  const env = {
    P2P_SYNC_INTERVAL: '2s',
    P2P_LINKS: String(links),
    P2P_DISCOVERY_MODE: 'mdns',
    P2P_DISCOVERY_PORT: String(await freePort()),
  };
  const mesh = await LiveMesh.start(run, { name: 'crowd', nodes, links: [] }, env);
  await until('all nodes to have found each other, and few links each', async () => {
    const all = await Promise.all(mesh.sites.map((site) => site.links()));
    return all.every((peers) => peers.length === nodes - 1 && linked(peers).every(({ state }) => state === 'live') && linked(peers).length <= links); // prettier-ignore
  });
  const degrees = (await Promise.all(mesh.sites.map((site) => site.links()))).map((peers) => linked(peers).length);
  tell([`${nodes} nodes`, `links each: ${Math.min(...degrees)} to ${Math.max(...degrees)}`]);
  tell(['a write at every node', `at all after ${await spread(mesh, mesh.sites, 'before')} s`]);
  const dead = mesh.sites.filter((_, i) => i % 5 === 2);
  const alive = mesh.sites.filter((site) => !dead.includes(site));
  for (const { id, node } of dead) await endChild(/** @type {any} */ (node.child), 'SIGKILL', `node ${id}`);
  tell([
    `${dead.length} nodes killed, a write at every other`,
    `at all others after ${await spread(mesh, alive, 'after')} s`,
  ]);
  await until('links to stand in for those to the dead', async () => {
    const all = await Promise.all(alive.map((site) => site.links()));
    const isDead = (/** @type {{ node_id: string | null }} */ { node_id: id }) => dead.some((site) => site.id === id);
    return all.every((peers) => linked(peers).filter((peer) => !isDead(peer)).length >= 2);
  });
  tell(['links that stand in for those to the dead', 'live']);
}

/** @param {{ state: string }[]} peers */
const linked = (peers) => peers.filter(({ state }) => state !== 'idle');

/** @param {LiveMesh} mesh @param {import('./site.mjs').Site[]} sites @param {string} name */
async function spread(mesh, sites, name) {
  const began = now();
  await Promise.all(sites.map(({ id, database }) => database.query('INSERT INTO items VALUES ($1, $1)', [`${name} ${id}`]))); // prettier-ignore
  await mesh.equal(sites);
  return ((now() - began) / 1_000).toFixed(1);
}

/** @param {string} what @param {() => Promise<boolean>} condition */
async function until(what, condition) {
  const deadline = now() + 180_000;
  while (!(await condition())) {
    if (now() > deadline) throw new Overdue(what, 180_000);
    await pause(200);
  }
}
