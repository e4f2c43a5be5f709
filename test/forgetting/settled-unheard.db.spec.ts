import { parseMaxVersions, remedyOf } from '@pgmesh/core';
import { renameWriter } from '@pgmesh/store';
import { copyDatabase } from '../support/database';
import { expectEqual, opened, storeNode, type StoreNode } from '../support/store-node';
import { bodies, evictFrom, meet, read, schema, table } from './meeting';
import { digests, held, inConflict, node, repair, rulesAs, versions } from './settling';

/** Of three nodes, one has heard of what stands, and not of what lost to it; the others do not wait for it, and one of them has let go. */
async function apart(a: StoreNode, b: StoreNode, c: StoreNode): Promise<void> {
  await a.sql(`INSERT INTO notes VALUES (1, 'first')`);
  await meet(a, b, c);
  await a.sql(`UPDATE notes SET body = 'of a'`);
  await b.sql(`UPDATE notes SET body = 'of b'`);
  await read(b, c);
  for (const one of [a, b]) await evictFrom(one, c);
  await meet(a, b);
  await a.store.collect();
  expect([await versions(a), await versions(b)]).toEqual([[['b']], [['b', 'a']]]);
}

describe('Who has not heard of what others have let go of', () => {
  it.each([
    ['first', 'a', 'b'],
    ['last', 'b', 'a'],
  ])('writes over what it lost to, and who has let go hears of it %s', async (_when, ...order) => {
    await using a = await node('a');
    await using b = await node('b');
    await using c = await node('c');
    await apart(a, b, c);
    await c.sql(`UPDATE notes SET body = 'of c'`);
    for (const id of order) await read(c, id === 'a' ? a : b);
    await meet(a, b, c);
    for (const one of [a, b, c]) expect(await bodies(one)).toEqual(['1 of c']);
    expect((await digests(a, b, c)).size).toBe(1);
    for (const one of [a, b, c]) await one.store.collect();
    await expectEqual(a, b, c);
  });

  it('wrote what stands, and writes once more: what it has never seen is known to whom it belongs', async () => {
    await using a = await node('a');
    await using b = await node('b');
    await using c = await node('c');
    await a.sql(`INSERT INTO notes VALUES (1, 'first')`);
    await meet(a, b, c);
    await a.sql(`UPDATE notes SET body = 'of a'`);
    await b.sql(`UPDATE notes SET body = 'of b'`);
    await read(b, a);
    for (const one of [a, c]) await evictFrom(one, b);
    await meet(a, c);
    await a.store.collect();
    await b.sql(`UPDATE notes SET body = 'of b, later'`);
    // What c has then is news to a, and one of its versions is a's own.
    await read(b, c);
    await read(b, a);
    await read(c, a);
    await meet(a, b, c);
    for (const one of [a, b, c]) await one.store.collect();
    await expectEqual(a, b, c);
  });

  it('was set back behind it, and writes under its new name', async () => {
    const b = await storeNode('b', schema);
    await using bDb = b.db;
    await using a = await node('a');
    await using c = await node('c');
    await a.sql(`INSERT INTO notes VALUES (1, 'first')`);
    await meet(a, b, c);
    await a.sql(`UPDATE notes SET body = 'of a'`);
    await b.sql(`UPDATE notes SET body = 'of b'`);
    await b.store.close();
    await using backup = await copyDatabase(bDb);
    const since = new Date();
    const before = await opened(bDb, 'b');
    await meet(a, before, c);
    await a.store.collect();
    await before.store.close();
    await renameWriter({ url: backup.url, since });
    await using back = await opened(backup, 'b');
    await back.sql(`UPDATE notes SET body = 'of b, set back'`);
    await read(back, c);
    await read(back, a);
    await read(c, a);
    await meet(a, back, c);
    for (const one of [a, back, c]) expect(await bodies(one)).toEqual(['1 of b, set back']);
    expect((await digests(a, back, c)).size).toBe(1);
  });
});

describe('What has been let go of by the rules that were', () => {
  it.each(['first-write-wins', 'manual'])('is gone for all by those that come after them: %s', async (strategy) => {
    await using a = await node('a');
    await using b = await node('b');
    await inConflict(a, b);
    await meet(a, b);
    await a.store.collect();
    for (const one of [a, b]) await one.store.setRules(rulesAs(strategy));
    await meet(a, b);
    for (const one of [a, b]) {
      expect(await bodies(one)).toEqual(['1 of b']);
      expect((await one.store.conflicts.list({ limit: 10 })).conflicts).toMatchObject([{ status: 'settled' }]);
    }
    await expectEqual(a, b);
  });

  it('is no reason to write the row anew where nodes compare before they have told each other', async () => {
    await using a = await node('a');
    await using b = await node('b');
    await inConflict(a, b);
    await meet(a, b);
    await a.store.collect();
    await b.store.setRules(rulesAs('first-write-wins'));
    const [ours, theirs] = [await held(a), await held(b)];
    const names = [a, b].map(({ id, store }) => ({ nodeId: id, origin: store.identity.origin }));
    expect(remedyOf(ours, theirs, names[0]!, names[1]!)).toBe('none');
    expect(remedyOf(theirs, ours, names[1]!, names[0]!)).toBe('none');
    await repair(a, b);
    for (const one of [a, b]) expect(await bodies(one)).toEqual(['1 of b']);
  });

  it('has been so in a table that others settle the same way, whatever they do in other tables', async () => {
    await using a = await node('a');
    await using b = await storeNode('b', `${schema}; CREATE TABLE other (id int PRIMARY KEY)`, ['*'], {
      rules: rulesAs('manual', 'public.other'),
    });
    await inConflict(a, b);
    await meet(a, b);
    for (const one of [a, b]) await one.store.collect();
    for (const one of [a, b]) expect(await versions(one)).toEqual([['b']]);
  });

  it('lets fields be merged again', async () => {
    const options = { rules: rulesAs('merge-fields') };
    const wide = 'CREATE TABLE notes (id int PRIMARY KEY, body text, title text)';
    await using a = await storeNode('a', wide, ['*'], options);
    await using b = await storeNode('b', wide, ['*'], options);
    await a.sql(`INSERT INTO notes VALUES (1, 'first', 'first')`);
    await meet(a, b);
    await a.sql(`UPDATE notes SET body = 'of a'`);
    await b.sql(`UPDATE notes SET title = 'of b'`);
    await meet(a, b);
    for (const one of [a, b]) await one.store.setRules(rulesAs('last-write-wins'));
    await meet(a, b);
    await a.store.collect();
    await repair(a, b);
    for (const one of [a, b]) await one.store.collect();
    await meet(a, b);
    await expectEqual(a, b);
    for (const one of [a, b]) await one.store.setRules(rulesAs('merge-fields'));
    await a.sql(`UPDATE notes SET title = 'of a'`);
    await b.sql(`UPDATE notes SET body = 'of b'`);
    await meet(a, b);
    await expectEqual(a, b);
    for (const one of [a, b])
      expect(await one.sql('SELECT body, title FROM notes')).toEqual([{ body: 'of b', title: 'of a' }]);
  });

  it('stays in the history of the row', async () => {
    const parsed = parseMaxVersions('5');
    if (!parsed.ok) throw new Error('maxVersions');
    const options = { maxVersions: parsed.maxVersions };
    await using a = await node('a', options);
    await using b = await node('b', options);
    await inConflict(a, b);
    await meet(a, b);
    await a.store.collect();
    await repair(a, b);
    await b.store.collect();
    for (const one of [a, b]) {
      const history = await one.sql(
        `SELECT image ->> 'body' AS body, how FROM ${one.store.find(table)!.history} ORDER BY stamp`,
      );
      const came = (writer: string) => (one.id === writer ? 'written' : 'received');
      expect(history).toEqual([
        { body: 'first', how: came('a') },
        { body: 'of a', how: 'lost' },
        { body: 'of b', how: came('b') },
      ]);
    }
  });
});
