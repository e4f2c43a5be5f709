import { seededRandom } from '@pgmesh/core';
import { expectEqual, storeNode, type StoreNode } from '../support/store-node';
import { meet, read } from './meeting';

const schema = `CREATE TABLE notes (id int PRIMARY KEY, mail text UNIQUE, parent int REFERENCES notes, body text);
  CREATE TABLE tick (at bigint); INSERT INTO tick VALUES (1700000000000000);`;
const ownClock = `CREATE OR REPLACE FUNCTION p2p.clock() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT at FROM public.tick'`;

/** A random history, the same with nodes that let go of what has lost, now one and now another of them, and with nodes that do not. */
async function play(seed: number, letsGo: boolean): Promise<unknown[]> {
  const next = seededRandom(seed);
  const pick = (n: number) => Math.floor(next() * n);
  const nodes: StoreNode[] = [];
  try {
    for (const id of ['n1', 'n10', 'n2']) nodes.push(await storeNode(id, schema, ['notes']));
    for (const one of nodes) await one.sql(ownClock);
    for (let step = 0; step < 30; step++) {
      const dice = next();
      if (dice < 0.62) await write(nodes[pick(3)]!, step, next, pick);
      else if (dice < 0.8) {
        const [from, to] = [nodes[pick(3)]!, nodes[pick(3)]!];
        if (from !== to) await read(from, to);
      } else {
        await meet(...nodes);
        for (const one of nodes) await one.store.settleParked();
        for (const one of nodes) if (next() < 0.6 && letsGo) await one.store.collect();
        if (next() < 0.5) await meet(...nodes);
      }
    }
    for (let again = 0; again < 3; again++) {
      await meet(...nodes);
      for (const one of nodes) await one.store.settleParked();
      for (const one of nodes) if (letsGo) await one.store.collect();
    }
    await meet(...nodes);
    await expectEqual(...nodes);
    return await nodes[0]!.sql('SELECT * FROM notes ORDER BY id');
  } finally {
    for (const one of nodes) await one[Symbol.asyncDispose]();
  }
}

/** The clock stands still for some steps: writes of one stamp come about. What a constraint refuses was not written. */
async function write(one: StoreNode, step: number, next: () => number, pick: (n: number) => number): Promise<void> {
  const [id, mail, parent] = [1 + pick(4), `m${pick(4)}`, next() < 0.3 ? 1 + pick(4) : null];
  await one.sql(`UPDATE tick SET at = 1700000000000000 + ${Math.floor(step / 6) * 3 + pick(3)}`);
  const kinds = [
    `INSERT INTO notes VALUES (${id}, '${mail}', NULL, 'w${step}') ON CONFLICT (id) DO UPDATE SET body = excluded.body`,
    `UPDATE notes SET mail = '${mail}', body = 'w${step}' WHERE id = ${id}`,
    `UPDATE notes SET parent = ${parent}, body = 'w${step}' WHERE id = ${id}`,
    `DELETE FROM notes WHERE id = ${id}`,
  ];
  await one.sql(kinds[[0, 0, 1, 2, 3][pick(5)]!]!).catch((error: Error & { code?: string }) => {
    if (!error.code?.startsWith('23')) throw error;
  });
}

const seed = Number(process.env.PGMESH_SEED ?? Date.now() % 1_000_000);

it.each([seed, seed + 1])('The same rows stand, whoever lets go of what has lost, and when (seed %i)', async (at) => {
  expect(await play(at, true)).toEqual(await play(at, false));
});
