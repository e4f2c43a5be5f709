import { rulesOf } from '@pgmesh/core';
import { expectEqual, pull, settle, type StoreNode, storeNode } from './support/store-node';

async function withTwo(schema: string, work: (a: StoreNode, b: StoreNode) => Promise<void>): Promise<void> {
  await using a = await storeNode('a', schema);
  await using b = await storeNode('b', schema);
  await work(a, b);
}

async function together(...nodes: StoreNode[]): Promise<void> {
  for (let i = 0; i < 3; i++) {
    for (const { store } of nodes) await store.settleParked();
    await settle(...nodes);
  }
  await expectEqual(...nodes);
}

const parkedOf = ({ sql }: StoreNode) => sql('SELECT key, reason FROM p2p.parked ORDER BY key');

describe('Parked rows, where tables are made otherwise', () => {
  it('partitions come and go: the rows of a new one are shared, and no row that is parked is lost', () =>
    withTwo(
      `CREATE TABLE l (k int, u text, UNIQUE (k, u), PRIMARY KEY (k)) PARTITION BY LIST (k);
       CREATE TABLE l1 PARTITION OF l FOR VALUES IN (1, 2); CREATE TABLE l2 PARTITION OF l FOR VALUES IN (3); CREATE UNIQUE INDEX ON l1 (u)`,
      async (a, b) => {
        await a.sql(`INSERT INTO l VALUES (1, 'x')`);
        await b.sql(`INSERT INTO l VALUES (2, 'x'), (3, 'x')`);
        await together(a, b);
        expect(await parkedOf(a)).toEqual([{ key: ['1'], reason: 'key' }]);
        for (const { sql, store } of [a, b]) {
          await sql(`ALTER TABLE l DETACH PARTITION l1; CREATE TABLE l3 PARTITION OF l FOR VALUES IN (1, 2)`);
          await store.keepUp();
        }
        await together(a, b);
        expect(await a.sql('SELECT k FROM l WHERE k = 1')).toEqual([{ k: 1 }]);
        expect(await parkedOf(a)).toEqual([]);
      },
    ));

  it('a unique index that could not be built keeps no rows apart, and one that is there does, as for PostgreSQL', () =>
    withTwo('CREATE TABLE p (k int PRIMARY KEY, u text)', async (a, b) => {
      await a.sql(`INSERT INTO p VALUES (1, 'x'), (2, 'x')`);
      await together(a, b);
      for (const { sql } of [a, b]) {
        await expect(sql('CREATE UNIQUE INDEX CONCURRENTLY p_u ON p (u)')).rejects.toThrow('could not create');
      }
      await b.sql(`INSERT INTO p VALUES (3, 'y')`);
      await a.sql(`INSERT INTO p VALUES (4, 'y')`);
      await together(a, b);
      expect(await a.sql('SELECT count(*)::int FROM p')).toEqual([{ count: 4 }]);
      await a.sql('DELETE FROM p WHERE k IN (2, 4)');
      await together(a, b);
      for (const { sql } of [a, b]) await sql('DROP INDEX p_u; CREATE UNIQUE INDEX p_u ON p (u)');
      await b.sql(`INSERT INTO p VALUES (5, 'z')`);
      await a.sql(`INSERT INTO p VALUES (6, 'z')`);
      await together(a, b);
      expect(await parkedOf(b)).toEqual([{ key: ['5'], reason: 'key' }]);
    }));

  it('rules are changed beside a settlement: what is parked by the old ones stands or waits by the new ones', () =>
    withTwo('CREATE TABLE p (k int PRIMARY KEY, u text UNIQUE)', async (a, b) => {
      await a.sql(`INSERT INTO p VALUES (1, 'a')`);
      await settle(a, b);
      await a.sql(`UPDATE p SET u = 'x' WHERE k = 1`);
      await b.sql(`UPDATE p SET u = 'z' WHERE k = 1; INSERT INTO p VALUES (2, 'x')`);
      await together(a, b);
      expect(await parkedOf(a)).toEqual([]);
      const rules = rulesOf([{ strategy: 'first-write-wins' }]);
      if (!rules.ok) throw new Error(rules.problems.join(' '));
      for (const { store } of [a, b]) await Promise.all([store.setRules(rules.rules), store.settleParked()]);
      await together(a, b);
      // The first write is shown of the one row, and wants the key of the other, which is younger.
      expect(await parkedOf(b)).toEqual([{ key: ['2'], reason: 'key' }]);
    }));

  it('a new node gets the parked rows with the others, and parks them', async () => {
    const schema = 'CREATE TABLE p (k int PRIMARY KEY, u text UNIQUE)';
    await withTwo(schema, async (a, b) => {
      await a.sql(`INSERT INTO p VALUES (1, 'x')`);
      await b.sql(`INSERT INTO p VALUES (2, 'x')`);
      await together(a, b);
      await using c = await storeNode('c', schema);
      await pull(a, c);
      expect(await parkedOf(c)).toEqual([{ key: ['1'], reason: 'key' }]);
      await c.sql('DELETE FROM p WHERE k = 2');
      await together(a, b, c);
      expect(await b.sql('SELECT k FROM p')).toEqual([{ k: 1 }]);
    });
  });
});
