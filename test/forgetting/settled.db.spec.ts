import { exchange, evictFrom, meet, read, bodies, table } from './meeting';
import { digests, inConflict, node, rulesAs, versions } from './settling';
import { expectEqual } from '../support/store-node';

describe('What has lost to the last write', () => {
  it('goes when every member has come past it, not before, and the row, its version and its place in the feed stay', async () => {
    await using a = await node('a');
    await using b = await node('b');
    await using c = await node('c');
    await inConflict(a, b, c);
    for (const one of [a, b, c]) expect(await versions(one)).toEqual([['b', 'a']]);
    for (const one of [a, b, c]) await one.store.collect();
    for (const one of [a, b, c]) expect(await versions(one)).toEqual([['b', 'a']]);
    await meet(a, b, c);
    const meta = a.store.find(table)!.meta;
    const before = await a.sql(`SELECT stamp, origin, xid::text FROM ${meta}`);
    await a.store.collect();
    expect(await versions(a)).toEqual([['b']]);
    expect(await a.sql(`SELECT stamp, origin, xid::text FROM ${meta}`)).toEqual(before);
    // Who has yet to let go of it is no other for that.
    expect(await versions(b)).toEqual([['b', 'a']]);
    expect((await digests(a, b, c)).size).toBe(1);
    for (const one of [b, c]) await one.store.collect();
    for (const one of [a, b, c]) {
      expect(await versions(one)).toEqual([['b']]);
      expect(await bodies(one)).toEqual(['1 of b']);
      const { conflicts } = await one.store.conflicts.list({ limit: 10 });
      expect(conflicts).toMatchObject([
        {
          status: 'settled',
          ended_by: { node_id: 'b' },
          versions: [{ row: { body: 'of a' } }, { row: { body: 'of b' } }],
        },
      ]);
    }
    await expectEqual(a, b, c);
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
    expect(await a.store.tombstones()).toMatchObject([{ kept: 0, settled: 1, held_up_by: ['c'] }]);
    const lagOf = async (id: string) => {
      const [member] = await a.store.members.list([id]);
      return a.store.members.lag(member!);
    };
    expect((await lagOf('b')).holdsUpSince).toBeNull();
    expect((await lagOf('c')).holdsUpSince).not.toBeNull();
    await evictFrom(a, c);
    await a.store.collect();
    expect(await versions(a)).toEqual([['b']]);
    expect(await a.store.tombstones()).toMatchObject([{ settled: 0, held_up_by: [] }]);
    await meet(a, b, c);
    for (const one of [a, b, c]) await one.store.collect();
    expect(await bodies(c)).toEqual(['1 of b']);
    await expectEqual(a, b, c);
  });

  it.each([
    ['an update', 'a', `UPDATE notes SET body = 'of c'`, ['1 of c']],
    ['a delete', 'c', 'DELETE FROM notes', []],
  ])(
    'counts as seen by %s that somebody makes afterwards, wherever it has gone by then (%s)',
    async (_what, id, write, stands) => {
      await using a = await node('a');
      await using b = await node('b');
      await using c = await node('c');
      const nodes = [a, b, c] as const;
      await inConflict(...nodes);
      await meet(...nodes);
      await nodes.find((one) => one.id === id)!.store.collect();
      await c.sql(write);
      await meet(...nodes);
      for (const one of nodes) {
        expect(await bodies(one)).toEqual(stands);
        expect(await versions(one)).toEqual([['c']]);
        expect((await one.store.conflicts.list({ limit: 10 })).conflicts).toMatchObject([
          { ended_by: { node_id: expect.any(String) } },
        ]);
      }
      await expectEqual(...nodes);
    },
  );

  it('can be made to stand after it has gone, as long as nobody has written the row since', async () => {
    await using a = await node('a');
    await using b = await node('b');
    await inConflict(a, b);
    await meet(a, b);
    for (const one of [a, b]) await one.store.collect();
    const [conflict] = (await b.store.conflicts.list({ limit: 10 })).conflicts;
    const { stamp, origin } = conflict!.versions[0]!;
    const decided = await b.store.conflicts.resolve(conflict!.id, { version: { stamp, origin } });
    expect(decided.ended_by).toMatchObject({ origin: b.store.identity.origin });
    await meet(a, b);
    expect(await bodies(a)).toEqual(['1 of a']);
    await expectEqual(a, b);
    const [onA] = (await a.store.conflicts.list({ limit: 10 })).conflicts;
    await expect(a.store.conflicts.resolve(onA!.id, { row: null })).rejects.toMatchObject({ code: 'decided' });
    await expect(b.store.conflicts.resolve(conflict!.id, { row: null })).rejects.toMatchObject({ code: 'decided' });
  });

  it('does not come back with who was away, nor does what it lost to', async () => {
    await using a = await node('a');
    await using b = await node('b');
    await using c = await node('c');
    await a.sql(`INSERT INTO notes VALUES (1, 'first')`);
    await meet(a, b, c);
    await a.sql(`UPDATE notes SET body = 'of a'`);
    await read(a, c);
    for (const one of [a, b]) await evictFrom(one, c);
    await b.sql(`UPDATE notes SET body = 'of b'`);
    await meet(a, b);
    for (const one of [a, b]) await one.store.collect();
    expect(await versions(a)).toEqual([['b']]);
    await meet(a, b, c);
    for (const one of [a, b, c]) expect(await bodies(one)).toEqual(['1 of b']);
    await expectEqual(a, b, c);
    await b.sql('DELETE FROM notes');
    for (const one of [a, b]) await evictFrom(one, c);
    await meet(a, b);
    for (const one of [a, b]) expect(await one.store.collect()).toEqual({ [table]: 1 });
    await meet(a, b, c);
    for (const one of [a, b, c]) expect(await bodies(one)).toEqual([]);
    await expectEqual(a, b, c);
  });

  it('stands again where who was away has written over it, beside what it lost to', async () => {
    await using a = await node('a');
    await using b = await node('b');
    await using c = await node('c');
    await a.sql(`INSERT INTO notes VALUES (1, 'first')`);
    await meet(a, b, c);
    await a.sql(`UPDATE notes SET body = 'of a'`);
    await read(a, c);
    for (const one of [a, b]) await evictFrom(one, c);
    await b.sql(`UPDATE notes SET body = 'of b'`);
    await meet(a, b);
    await a.store.collect();
    await c.sql(`UPDATE notes SET body = 'of c'`);
    await meet(a, b, c);
    for (const one of [a, b, c]) {
      expect(await bodies(one)).toEqual(['1 of c']);
      expect((await versions(one)).map((names) => names.toSorted())).toEqual([['b', 'c']]);
    }
    for (const one of [a, b, c]) await one.store.collect();
    await expectEqual(a, b, c);
  });

  it('makes no difference between who has let go of it and who has not heard of it, once they compare', async () => {
    await using a = await node('a');
    await using b = await node('b');
    await using c = await node('c');
    await a.sql(`INSERT INTO notes VALUES (1, 'first')`);
    await meet(a, b, c);
    await a.sql(`UPDATE notes SET body = 'of a'`);
    await b.sql(`UPDATE notes SET body = 'of b'`);
    await read(b, c);
    for (const one of [a, b]) await evictFrom(one, c);
    await meet(a, b);
    for (const one of [a, b]) await one.store.collect();
    expect((await digests(a, b)).size).toBe(1);
    expect((await digests(a, c)).size).toBe(2);
    const window = await a.store.digests.open(table, [['1']]);
    await c.store.inbox.apply(window.frames());
    await window.close();
    expect((await digests(a, b, c)).size).toBe(1);
    await expectEqual(a, b, c);
    // And the other way: who knows less takes nothing away.
    await using d = await node('d');
    await exchange(b, d);
    await expectEqual(a, b, c, d);
  });

  it('of a deletion goes as other deletions do', async () => {
    await using a = await node('a');
    await using b = await node('b');
    await a.sql(`INSERT INTO notes VALUES (1, 'first')`);
    await meet(a, b);
    await a.sql(`UPDATE notes SET body = 'of a'`);
    await b.sql('DELETE FROM notes');
    await meet(a, b);
    expect(await a.store.collect()).toEqual({ [table]: 1 });
    expect(await versions(a)).toEqual([]);
    // One has forgotten all of it, the other nothing yet.
    await exchange(a, b);
    expect(await b.store.collect()).toEqual({ [table]: 1 });
    await meet(a, b);
    for (const one of [a, b]) expect(await bodies(one)).toEqual([]);
    await expectEqual(a, b);
  });

  it('stays beside a write of the same time, and goes with both', async () => {
    await using a = await node('a');
    await using b = await node('b');
    for (const one of [a, b]) {
      await one.sql(
        `CREATE OR REPLACE FUNCTION p2p.clock() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT 1700000000000000::int8'`,
      );
      await one.sql(`INSERT INTO notes VALUES (1, 'of ${one.id}')`);
    }
    await meet(a, b);
    for (const one of [a, b]) await one.store.collect();
    for (const one of [a, b]) expect(await versions(one)).toEqual([['b', 'a']]);
    await expectEqual(a, b);
    await a.sql(`UPDATE notes SET body = 'later'`);
    await meet(a, b);
    for (const one of [a, b]) expect(await versions(one)).toEqual([['a']]);
  });

  it('stays as long as a member settles conflicts otherwise: there it may stand, or be for people to decide', async () => {
    for (const other of ['first-write-wins', 'manual']) {
      await using a = await node('a');
      await using b = await node('b', { rules: rulesAs(other) });
      await inConflict(a, b);
      await meet(a, b);
      for (const one of [a, b]) await one.store.collect();
      for (const one of [a, b]) expect((await versions(one)).map((names) => names.toSorted())).toEqual([['a', 'b']]);
      expect(await a.store.tombstones()).toMatchObject([{ settled: 1, held_up_by: ['b'] }]);
      expect(await b.store.tombstones()).toMatchObject([{ settled: 0, held_up_by: [] }]);
      await b.store.setRules(rulesAs('last-write-wins'));
      await meet(a, b);
      for (const one of [a, b]) await one.store.collect();
      for (const one of [a, b]) expect(await versions(one)).toEqual([['b']]);
      await expectEqual(a, b);
    }
  });

  it.each(['node-priority', 'merge-fields'])(
    'stays until somebody writes the row where the rule is %s',
    async (strategy) => {
      await using a = await node('a', { rules: rulesAs(strategy) });
      await using b = await node('b', { rules: rulesAs(strategy) });
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
