import { type Rules, rulesOf } from '@pgmesh/core';
import { expectEqual, storeNode, type StoreNode } from '../support/store-node';
import { bodies, evictFrom, meet, read, schema, table } from './meeting';

/** The versions that a node has of its rows: their names, siblings last. */
const versions = async (node: StoreNode) =>
  (
    await node.sql<{ names: string[] }>(
      `SELECT ARRAY[origin] || ARRAY(SELECT s ->> 'origin' FROM jsonb_array_elements(siblings) AS s) AS names FROM ${node.store.find(table)!.meta} ORDER BY key1`,
    )
  ).map(({ names }) => names.map((name) => name.replace(/~(?!settled).*/, '')));

/** Two nodes whose writes of one row are concurrent; that of b is the later one. */
async function inConflict(...nodes: readonly [StoreNode, StoreNode, ...StoreNode[]]): Promise<void> {
  const [a, b] = nodes;
  await a.sql(`INSERT INTO notes VALUES (1, 'first')`);
  await meet(...nodes);
  await a.sql(`UPDATE notes SET body = 'of a'`);
  await b.sql(`UPDATE notes SET body = 'of b'`);
  for (const to of nodes) for (const from of nodes) if (to !== from) await read(from, to);
  for (const node of nodes) expect(await versions(node)).toEqual([['b', 'a']]);
}

const node = (id: string, rules?: string) =>
  storeNode(id, schema, ['*'], rules === undefined ? {} : { rules: rulesAs(rules) });

function rulesAs(strategy: string): Rules {
  const outcome = rulesOf([{ strategy }]);
  if (!outcome.ok) throw new Error(outcome.problems.join(' '));
  return outcome.rules;
}

describe('A conflict that the last write has settled', () => {
  it('ends when every member has come past it, not before, and the row stays as it is', async () => {
    await using a = await node('a');
    await using b = await node('b');
    await using c = await node('c');
    await inConflict(a, b, c);
    for (const one of [a, b, c]) await one.store.collect();
    for (const one of [a, b, c]) expect(await versions(one)).toEqual([['b', 'a']]);
    await meet(a, b, c);
    // It falls to one of them.
    await b.store.collect();
    await c.store.collect();
    expect(await versions(b)).toEqual([['b', 'a']]);
    await a.store.collect();
    expect(await versions(a)).toEqual([['a~settled00000']]);
    await meet(a, b, c);
    for (const one of [a, b, c]) {
      expect(await versions(one)).toEqual([['a~settled00000']]);
      expect(await bodies(one)).toEqual(['1 of b']);
      const { conflicts } = await one.store.conflicts.list({ limit: 10 });
      expect(conflicts).toMatchObject([
        {
          status: 'settled',
          ended_by: { node_id: 'a' },
          versions: [{ row: { body: 'of a' } }, { row: { body: 'of b' } }],
        },
      ]);
    }
    await expectEqual(a, b, c);
    for (const one of [a, b, c]) await one.store.collect();
    expect(await versions(a)).toEqual([['a~settled00000']]);
  });

  it('waits for a member that sleeps, until that is evicted', async () => {
    await using a = await node('a');
    await using b = await node('b');
    await using c = await node('c');
    await meet(a, b, c);
    await inConflict(a, b);
    await meet(a, b);
    await a.store.collect();
    expect(await versions(a)).toEqual([['b', 'a']]);
    await evictFrom(a, c);
    await a.store.collect();
    expect(await versions(a)).toEqual([['a~settled00000']]);
    await meet(a, b, c);
    expect(await bodies(c)).toEqual(['1 of b']);
    await expectEqual(a, b, c);
  });

  it.each([
    ['an update', `UPDATE notes SET body = 'of c'`, ['1 of c']],
    ['a delete', 'DELETE FROM notes', []],
  ])('is ended by %s that somebody makes at the same time, whatever his clock says', async (_what, write, stands) => {
    await using a = await node('a');
    await using b = await node('b');
    await using c = await node('c');
    await inConflict(a, b, c);
    await meet(a, b, c);
    await a.store.collect();
    // It is stamped right above what it covers.
    const [clock] = await c.sql<{ body: string }>(`SELECT pg_get_functiondef('p2p.clock'::regproc) AS body`);
    await c.sql(`CREATE OR REPLACE FUNCTION p2p.clock() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT 1000::int8'`);
    await c.sql(write);
    await c.sql(clock!.body);
    await meet(a, b, c);
    for (const one of [a, b, c]) expect(await bodies(one)).toEqual(stands);
    await expectEqual(a, b, c);
    await a.store.collect();
    await meet(a, b, c);
    for (const one of [a, b, c]) {
      expect(await bodies(one)).toEqual(stands);
      expect((await versions(one)).flat().filter((name) => !name.startsWith('a~settled'))).toEqual([]);
    }
    await expectEqual(a, b, c);
  });

  it('can be decided otherwise after it has ended, as long as nobody has written the row since', async () => {
    await using a = await node('a');
    await using b = await node('b');
    await inConflict(a, b);
    await meet(a, b);
    await a.store.collect();
    await meet(a, b);
    const [conflict] = (await b.store.conflicts.list({ limit: 10 })).conflicts;
    const { stamp, origin } = conflict!.versions[0]!;
    const decided = await b.store.conflicts.resolve(conflict!.id, { version: { stamp, origin } });
    expect(decided.ended_by).toMatchObject({ origin: b.store.identity.origin });
    await meet(a, b);
    expect(await bodies(a)).toEqual(['1 of a']);
    await expectEqual(a, b);
    const [onA] = (await a.store.conflicts.list({ limit: 10 })).conflicts;
    await expect(a.store.conflicts.resolve(onA!.id, { row: null })).rejects.toMatchObject({ code: 'decided' });
  });

  it('is written over by who returns, and the deletion that was forgotten meanwhile comes beside that', async () => {
    await using a = await node('a');
    await using b = await node('b');
    await using c = await node('c');
    await inConflict(a, b, c);
    await meet(a, b, c);
    await a.store.collect();
    await meet(a, b, c);
    await c.sql(`UPDATE notes SET body = 'of c'`);
    await a.sql('DELETE FROM notes');
    for (const one of [a, b]) await evictFrom(one, c);
    await meet(a, b);
    for (const one of [a, b]) expect(await one.store.collect()).toEqual({ [table]: 1 });
    await meet(a, b, c);
    for (const one of [a, b, c]) {
      expect(await bodies(one)).toEqual(['1 of c']);
      expect((await one.store.conflicts.list({ limit: 1 })).conflicts).toMatchObject([
        { ended_at: null, versions: [{ deleted: true }, { row: { body: 'of c' } }] },
      ]);
    }
    await expectEqual(a, b, c);
  });

  it('of a deletion goes as other deletions do', async () => {
    await using a = await node('a');
    await using b = await node('b');
    await a.sql(`INSERT INTO notes VALUES (1, 'first')`);
    await meet(a, b);
    await a.sql(`UPDATE notes SET body = 'of a'`);
    await b.sql('DELETE FROM notes');
    await meet(a, b);
    await a.store.collect();
    await meet(a, b);
    for (const one of [a, b]) expect(await one.store.collect()).toEqual({ [table]: 1 });
    for (const one of [a, b]) expect(await versions(one)).toEqual([]);
    await meet(a, b);
    for (const one of [a, b]) expect(await bodies(one)).toEqual([]);
  });

  it.each(['first-write-wins', 'node-priority', 'merge-fields', 'manual'])(
    'keeps its siblings until somebody writes the row where the rule is %s',
    async (strategy) => {
      await using a = await node('a', strategy);
      await using b = await node('b', strategy);
      await a.sql(`INSERT INTO notes VALUES (1, 'first')`);
      await meet(a, b);
      await a.sql(`UPDATE notes SET body = 'of a'`);
      await b.sql(`UPDATE notes SET body = 'of b'`);
      await meet(a, b);
      for (const one of [a, b]) await one.store.collect();
      for (const one of [a, b])
        expect((await versions(one))[0]!.toSorted()).toEqual(expect.arrayContaining(['a', 'b']));
      await b.sql(`UPDATE notes SET body = 'decided'`);
      await meet(a, b);
      for (const one of [a, b]) expect(await versions(one)).toEqual([['b']]);
    },
  );
});
