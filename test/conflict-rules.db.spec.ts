import { parseRules, type Rules } from '@pgmesh/core';
import type { PostgresStore } from '@pgmesh/store';
import type { TestDatabase } from './support/database';
import { expectEqual, openStore, settle, type StoreNode, storeNode } from './support/store-node';

function rules(text: string): Rules {
  const outcome = parseRules(text);
  if (!outcome.ok) throw new Error(outcome.problems.join('\n'));
  return outcome.rules;
}

const schema = `CREATE TABLE t (id text PRIMARY KEY, x text); CREATE TABLE other (id int PRIMARY KEY, x text);`;
const show = (node: { sql: TestDatabase['sql'] }, table = 't') =>
  node.sql<{ id: string; x: string }>(`SELECT id::text, x FROM ${table} ORDER BY id`);
const versions = async ({ sql, store }: StoreNode) =>
  (
    await sql<{ n: number }>(`SELECT 1 + coalesce(jsonb_array_length(siblings), 0) AS n FROM ${store.find('t')!.meta}`)
  ).map(({ n }) => n);

/** Three nodes, b with the highest priority, with a row that all of them have. */
async function three(told: string): Promise<[StoreNode, StoreNode, StoreNode, ...StoreNode[]]> {
  const nodes = await Promise.all(
    (['a', 'b', 'c'] as const).map((id, i) =>
      storeNode(id, schema, ['t', 'other'], { rules: rules(told), priority: [1, 5, 3][i]! }),
    ),
  );
  await nodes[0]!.sql(`INSERT INTO t VALUES ('1', 'at first')`);
  await settle(...nodes);
  return nodes as unknown as [StoreNode, StoreNode, StoreNode];
}

async function close(nodes: readonly StoreNode[]): Promise<void> {
  await Promise.all(nodes.map((node) => node[Symbol.asyncDispose]()));
}

async function allEqual([first, ...others]: readonly StoreNode[]): Promise<void> {
  for (const other of others) await expectEqual(first!, other);
}

describe('Concurrent versions', () => {
  it.each([
    ['last-write-wins', 'of c'],
    ['first-write-wins', 'of a'],
    ['node-priority', 'of b'],
    ['manual', 'of c'],
  ])('under %s leave the same row on all nodes, in whatever order they arrive', async (strategy, standing) => {
    const nodes = await three(strategy);
    const [a, b, c] = nodes;
    try {
      for (const node of [a, b, c]) await node.sql(`UPDATE t SET x = $1`, [`of ${node.id}`]);
      await settle(b, c);
      await settle(c, a, b);
      await allEqual(nodes);
      expect(await show(a)).toEqual([{ id: '1', x: standing }]);
      expect(await versions(b)).toEqual([3]);
      // Whoever has seen them all decides, whatever the rule.
      await a.sql(`UPDATE t SET x = 'decided'`);
      await settle(a, b, c);
      await allEqual(nodes);
      expect([await show(c), await versions(c)]).toEqual([[{ id: '1', x: 'decided' }], [1]]);
    } finally {
      await close(nodes);
    }
  });

  it('a later write by a node of low priority beats an earlier one that it has seen', async () => {
    const nodes = await three('node-priority');
    const [a, b, c] = nodes;
    try {
      await b.sql(`UPDATE t SET x = 'of b'`);
      await settle(a, b, c);
      await a.sql(`UPDATE t SET x = 'of a, later'`);
      await settle(c, b, a);
      await allEqual(nodes);
      expect(await show(b)).toEqual([{ id: '1', x: 'of a, later' }]);
      expect(await versions(b)).toEqual([1]);
    } finally {
      await close(nodes);
    }
  });

  it('a delete is a version like others: it stands where the rule says so, and gives way where it does not', async () => {
    for (const [strategy, standing] of [
      ['first-write-wins', []],
      ['last-write-wins', [{ id: '1', x: 'of c' }]],
    ] as const) {
      const nodes = await three(strategy);
      const [a, b, c] = nodes;
      try {
        await b.sql('DELETE FROM t');
        await c.sql(`UPDATE t SET x = 'of c'`);
        await settle(a, c, b);
        await allEqual(nodes);
        expect(await show(a)).toEqual(standing);
      } finally {
        await close(nodes);
      }
    }
  });

  it('go by the rule of their table and of the longest prefix of their key', async () => {
    const nodes = await three('first-write-wins, other=last-write-wins, t:b/=node-priority, t:b/c=last-write-wins');
    const [a, b, c] = nodes;
    try {
      for (const node of [a, b, c]) {
        for (const id of ['x', 'b/x', 'b/c']) await node.sql(`INSERT INTO t VALUES ($1, $2)`, [id, `of ${node.id}`]);
        await node.sql(`INSERT INTO other VALUES (1, $1)`, [`of ${node.id}`]);
      }
      await settle(c, b, a);
      await allEqual(nodes);
      expect(await show(a)).toEqual([
        { id: '1', x: 'at first' },
        { id: 'b/c', x: 'of c' },
        { id: 'b/x', x: 'of b' },
        { id: 'x', x: 'of a' },
      ]);
      expect(await show(a, 'other')).toEqual([{ id: '1', x: 'of c' }]);
    } finally {
      await close(nodes);
    }
  });

  it('are no longer than peers can be told', async () => {
    await using node = await storeNode('a', 'CREATE TABLE t (id int PRIMARY KEY)');
    const many = Array.from({ length: 12 }, (_, i) => `t:${String(i).padEnd(9_000, 'x')}=manual`).join(', ');
    await expect(node.store.setRules(rules(many))).rejects.toMatchObject({ code: 'invalid_rules', status: 422 });
    expect(node.store.rules).toEqual(rules('last-write-wins'));
    await expect(openStore(node.db, 'a', ['*'], { rules: rules(many) })).rejects.toThrow(/100000 at most/);
  });

  it('are shown anew when the rules change, on each node for itself, and no version is made', async () => {
    const nodes = await three('last-write-wins');
    const opened: PostgresStore[] = [];
    try {
      for (const node of nodes) {
        await node.sql(`UPDATE t SET x = $1`, [`of ${node.id}`]);
        await node.sql(`INSERT INTO t SELECT i::text, $1 FROM generate_series(100, 1500) AS i`, [`of ${node.id}`]);
      }
      await settle(...nodes);
      await allEqual(nodes);
      const { meta } = nodes[0].store.find('t')!;
      const newest = `SELECT key1, greatest(stamp, p2p.highest_stamp(siblings)) FROM ${meta} ORDER BY 1`;
      const stamps = await nodes[0].sql(newest);
      for (const { store } of nodes) await store.close();
      const again: StoreNode[] = [];
      for (const [i, { db, id, sql }] of nodes.entries()) {
        const priority = [1, 5, 3][i]!;
        const store = await openStore(db, id, ['t', 'other'], { rules: rules('node-priority'), priority });
        opened.push(store);
        again.push({ db, id, sql, store, [Symbol.asyncDispose]: async () => {} });
      }
      for (const node of again) {
        expect(await node.sql(`SELECT DISTINCT x FROM t`)).toEqual([{ x: 'of b' }]);
        expect(await node.sql(`SELECT rules FROM p2p.node`)).toEqual([{ rules: 'node-priority' }]);
      }
      await allEqual(again);
      await settle(...again);
      await allEqual(again);
      expect(await nodes[0].sql(newest)).toEqual(stamps);
    } finally {
      await Promise.all(opened.map((store) => store.close()));
      await Promise.all(nodes.map(({ db }) => db[Symbol.asyncDispose]()));
    }
  });
});
