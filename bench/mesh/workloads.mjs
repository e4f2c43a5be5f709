// @ts-check
import { setTimeout as pause } from 'node:timers/promises';
import { now } from '../deadline.mjs';

const insert = 'INSERT INTO items VALUES ($1, $2)';
const body = 'a row like many others, of some two hundred bytes '.repeat(4);

/**
 * Writes to a mesh that has come to rest, and returns how many rows were written, when all nodes have them.
 * @typedef {(mesh: import('./live-mesh.mjs').LiveMesh, seconds: number) => Promise<number>} Workload
 */

/** One row at a time, at each node in turn: every write finds the mesh at rest. @type {Workload} */
async function single(mesh) {
  const rounds = 3;
  for (let round = 0; round < rounds; round++) {
    for (const { id, database } of mesh.sites) {
      await database.query(insert, [`single ${id} ${round} ${now()}`, body]);
      await mesh.equal();
    }
  }
  return rounds * mesh.sites.length;
}

/** At every node at once: one transaction of 500 rows, then 50 of one row. @type {Workload} */
async function bursts(mesh) {
  const [large, small] = [500, 50];
  await Promise.all(
    mesh.sites.map(async ({ id, database }) => {
      await database.query(`INSERT INTO items SELECT 'burst ' || $1 || ' ' || n, $2 FROM generate_series(1, ${large}) AS n`, [id, body]); // prettier-ignore
      for (let i = 0; i < small; i++) await database.query(insert, [`small ${id} ${i}`, body]);
    }),
  );
  return mesh.sites.length * (large + small);
}

/** Transactions of one row, some 20 a second, at every other node for a while. @type {Workload} */
async function sustained(mesh, seconds) {
  const writers = mesh.sites.filter((_, i) => i % 2 === 0);
  const end = now() + seconds * 1_000;
  const counts = await Promise.all(
    writers.map(async ({ id, database }) => {
      let i = 0;
      for (; now() < end; i++) {
        await database.query(insert, [`sustained ${id} ${i}`, body]);
        await pause(20 + Math.random() * 60);
      }
      return i;
    }),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

/** @type {Record<string, { title: string, write: Workload }>} */
export const workloads = {
  first: { title: 'single writes, a mesh just started', write: single },
  single: { title: 'single writes', write: single },
  bursts: { title: 'bursts, all nodes at once', write: bursts },
  sustained: { title: 'sustained, half of the nodes', write: sustained },
};
