import type { Resolver } from '@pgmesh/core';
import { Random } from '../convergence/random';
import { eventually, eventuallyEqual, type LiveMesh, type LiveNode, startMesh } from '../support/mesh-node';

/** A version as it lies on a node, and what is visible. */
interface Version {
  readonly stamp: number;
  readonly origin: string;
  readonly priority: number;
  readonly deleted: boolean;
}

const byName = (a: Version, b: Version): number =>
  a.stamp - b.stamp || (a.origin < b.origin ? -1 : a.origin > b.origin ? 1 : 0);

/**
 * A table for each strategy, so that one history serves all. `stands` tells from the set of a row's versions, lowest first, which of
 * them must be visible; null where it is none of them, but composed of them.
 */
const strategies: readonly {
  readonly table: string;
  readonly rule: string;
  readonly stands: ((set: readonly Version[]) => Version) | null;
}[] = [
  { table: 'last', rule: 'last-write-wins', stands: (set) => set.at(-1)! },
  { table: 'first', rule: 'first-write-wins', stands: (set) => set[0]! },
  {
    table: 'ranked',
    rule: 'node-priority',
    stands: (set) => [...set].sort((a, b) => a.priority - b.priority || byName(a, b)).at(-1)!,
  },
  { table: 'manual', rule: 'manual', stands: (set) => set.at(-1)! },
  { table: 'fields', rule: 'merge-fields', stands: null },
  { table: 'resolved', rule: 'custom(most)', stands: null },
];

/** The most of both, and the names of both in the order that does not depend on who asks. */
const most: Resolver = (_key, a, b) => {
  if (a.value === null || b.value === null) return a.value ?? b.value;
  const qty = Math.max(Number(a.value.qty), Number(b.value.qty));
  return { ...b.value, qty: String(qty), name: [a.value.name, b.value.name].sort().join() };
};

const schema = strategies
  .map(({ table }) => `CREATE TABLE ${table} (id int PRIMARY KEY, name text, qty int NOT NULL DEFAULT 0, doc jsonb);`)
  .join('\n');

const conflict = strategies.map(({ table, rule }) => `${table}=${rule}`).join(', ');

const topologies = [
  { name: 'a ring', topology: 'a <-> b <-> c <-> a' },
  { name: 'a line', topology: 'a <-> b <-> c' },
];

const start = (topology: string): Promise<LiveMesh> =>
  startMesh(topology, schema, {
    all: { conflict, resolvers: { most } },
    of: { a: { priority: 1 }, b: { priority: 9 }, c: { priority: 5 } },
    before: {
      a: strategies
        .map(({ table }) => `INSERT INTO ${table} SELECT i, 'at first', i, '{"k": 1}' FROM generate_series(1, 40) AS i`)
        .join(';'),
    },
  });

/** What users do on one node: each table gets the same. */
async function write(node: LiveNode, random: Random, statements: number): Promise<void> {
  for (let i = 0; i < statements; i++) {
    const id = random.between(1, 40);
    const what = random.between(1, 10);
    const by = `${node.id} ${i}`;
    for (const { table } of strategies) {
      if (what === 1) await node.sql(`DELETE FROM ${table} WHERE id = $1`, [id]);
      else if (what === 2) await node.sql(`UPDATE ${table} SET qty = qty + 1 WHERE id BETWEEN $1 AND $1 + 5`, [id]);
      else if (what === 3)
        await node.sql(`UPDATE ${table} SET doc = jsonb_set(coalesce(doc, '{}'), ARRAY[$2], '1') WHERE id = $1`, [
          id,
          node.id,
        ]);
      else {
        await node.sql(
          `INSERT INTO ${table} (id, name) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET name = excluded.name`,
          [id, by],
        );
      }
    }
  }
}

async function versions(node: LiveNode, table: string): Promise<{ visible: Version; set: Version[]; here: boolean }[]> {
  const rows = await node.sql<{ visible: Version; siblings: Version[] | null; here: boolean }>(
    `SELECT jsonb_build_object('stamp', m.stamp, 'origin', m.origin, 'priority', m.priority, 'deleted', m.deleted) AS visible,
       m.siblings, EXISTS (SELECT FROM ${table} AS d WHERE d.id = m.key1) AS here
     FROM p2p.meta_${await tableId(node, table)} AS m`,
  );
  return rows.map(({ visible, siblings, here }) => ({
    visible,
    here,
    // Beside a composed row all versions lie whole, the one that it stands under as well.
    set: [...(siblings?.some((one) => byName(one, visible) === 0) ? [] : [visible]), ...(siblings ?? [])].sort(byName),
  }));
}

async function tableId(node: LiveNode, table: string): Promise<number> {
  const [row] = await node.sql<{ id: number }>(`SELECT id FROM p2p.tracked_table WHERE relation = $1::regclass`, [
    table,
  ]);
  return row!.id;
}

/** What a node tells of a table over HTTP, by key. */
async function told(node: LiveNode, table: string): Promise<Record<string, unknown>> {
  type Change = { key: { id: number }; op: string; version: unknown; row: unknown };
  const { changes } = await node.ask<{ changes: Change[] }>(`table/${table}/changes?limit=1000`);
  return Object.fromEntries(changes.map(({ key, ...change }) => [key.id, change]));
}

describe.each(topologies)('Three nodes in $name', ({ topology }) => {
  it('come to the same rows and versions under every strategy, parted and together again, under load', async () => {
    await using mesh = await start(topology);
    const { nodes } = mesh;
    await mesh.connected();
    await eventuallyEqual(...nodes);
    const writers = nodes.map((_, i) => new Random(100 + i));
    const all = (statements: number) => Promise.all(nodes.map((node, i) => write(node, writers[i]!, statements)));

    await all(20);
    for (const link of mesh.proxies) link.close();
    await all(40);
    // One of them is started anew meanwhile.
    await mesh.node('b').stop();
    await write(mesh.node('b'), writers[1]!, 10);
    await mesh.node('b').start();
    for (const link of mesh.proxies) link.open();
    await Promise.all([all(20), ...nodes.map((node) => node.ask('sync/manual', 'POST', {}))]);
    await eventuallyEqual(...nodes);

    for (const { table, stands } of strategies) {
      const found = await versions(nodes[0]!, table);
      expect({ table, conflicts: found.some(({ set }) => set.length > 1) }).toEqual({ table, conflicts: true });
      for (const { visible, set, here } of stands ? found : []) {
        const name = ({ stamp, origin }: Version) => ({ table, stamp, origin });
        expect(name(visible)).toEqual(name(stands!(set)));
        expect(here).toBe(!visible.deleted);
      }
      const [first, ...others] = await Promise.all(nodes.map((node) => told(node, table)));
      for (const other of others) expect(other).toEqual(first);
    }
    expect((await mesh.node('a').status()).peers.flatMap(({ rules_differ }) => rules_differ)).toEqual([]);

    // A decision is a write: it covers the set, and travels.
    for (const { table } of strategies)
      await mesh.node('c').sql(`UPDATE ${table} SET name = 'decided', qty = qty + 1000`);
    await eventuallyEqual(...nodes);
    for (const { table } of strategies) {
      expect((await versions(mesh.node('a'), table)).filter(({ set, here }) => here && set.length > 1)).toEqual([]);
    }
  });
});

describe('A thousand rows that two nodes have written at once', () => {
  it('are settled under every strategy soon after the nodes meet', async () => {
    await using mesh = await start('a <-> b');
    const [a, b] = mesh.nodes as [LiveNode, LiveNode];
    await mesh.connected();
    for (const link of mesh.proxies) link.close();
    const insert = (node: LiveNode) =>
      Promise.all(
        strategies.map(({ table }) =>
          node.sql(
            `INSERT INTO ${table} SELECT i, $1::text, i, jsonb_build_object($1::text, i) FROM generate_series(1001, 2000) AS i`,
            [node.id],
          ),
        ),
      );
    await Promise.all([insert(a), insert(b)]);
    for (const link of mesh.proxies) link.open();
    await eventually('all of them are in conflict on both', async () => {
      for (const node of [a, b]) {
        for (const { table } of strategies) {
          expect((await versions(node, table)).filter(({ set }) => set.length === 2)).toHaveLength(1000);
        }
      }
    });
    await eventuallyEqual(a, b);
    const { conflicts_resolved: settled } = await a.ask<{ conflicts_resolved: number }>('status');
    expect(settled).toBeGreaterThanOrEqual(1000 * strategies.length);
  });
});
