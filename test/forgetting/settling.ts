import { type Rules, rulesOf } from '@pgmesh/core';
import type { StoreOptions } from '@pgmesh/store';
import { storeNode, type StoreNode } from '../support/store-node';
import { meet, read, schema, table } from './meeting';

/** The versions that a node has of its rows: who wrote them, the one that stands first. */
export const versions = async (one: StoreNode) =>
  (
    await one.sql<{ names: string[] }>(
      `SELECT ARRAY[origin] || ARRAY(SELECT s ->> 'origin' FROM jsonb_array_elements(siblings) AS s) AS names FROM ${one.store.find(table)!.meta} ORDER BY key1`,
    )
  ).map(({ names }) => names.map((name) => name.replace(/~.*/, '')));

/** Two nodes whose writes of one row are concurrent, that of the second later; all know of both, and nobody of that. */
export async function inConflict(...nodes: readonly [StoreNode, StoreNode, ...StoreNode[]]): Promise<void> {
  const [a, b] = nodes;
  await a.sql(`INSERT INTO notes VALUES (1, 'first')`);
  await meet(...nodes);
  await a.sql(`UPDATE notes SET body = 'of a'`);
  await b.sql(`UPDATE notes SET body = 'of b'`);
  for (const to of nodes) for (const from of nodes) if (to !== from) await read(from, to);
}

export const node = (id: string, options: Partial<StoreOptions> = {}) => storeNode(id, schema, ['*'], options);

export function rulesAs(strategy: string, table?: string): Rules {
  const own = table === undefined ? [{ strategy }] : [{ strategy: 'last-write-wins' }, { strategy, table }];
  const outcome = rulesOf(own);
  if (!outcome.ok) throw new Error(outcome.problems.join(' '));
  return outcome.rules;
}

/** How nodes hold the row, told apart as those do that compare. */
export async function digests(...nodes: readonly StoreNode[]): Promise<Set<string>> {
  const found = new Set<string>();
  for (const one of nodes) found.add((await held(one)).digest);
  return found;
}

export async function held({ store }: StoreNode) {
  const { rows } = await store.digests.held({ table, columns: ['id', 'body'], settled: true, byIndex: true }, [['1']]);
  return rows[0]!;
}

/** Both send each other the row, as nodes do that compare. */
export async function repair(one: StoreNode, other: StoreNode): Promise<void> {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    const window = await from.store.digests.open(table, [['1']]);
    await to.store.inbox.apply(window.frames());
    await window.close();
  }
}
