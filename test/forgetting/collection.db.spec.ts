import { backupOf } from '../support/database';
import { expectEqual, opened, storeNode } from '../support/store-node';
import { startPulling } from '../traps/pulling';
import { bodies, evictFrom, kept, meet, rows, schema, table } from './meeting';

describe('What was deleted', () => {
  it('is forgotten when every member has come past it, and not before', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await a.sql(`INSERT INTO notes SELECT i, 'row' FROM generate_series(1, 10) AS i`);
    await meet(a, b);
    await a.sql('DELETE FROM notes WHERE id <= 6');
    expect(await a.store.collect()).toEqual({ [table]: 0 });
    expect(await a.store.tombstones()).toMatchObject([{ kept: 6, held_up_by: ['b'], horizon: null }]);
    await meet(a, b);
    expect(await a.store.collect()).toEqual({ [table]: 6 });
    expect(await b.store.collect()).toEqual({ [table]: 6 });
    expect(await kept(a)).toBe(0);
    expect((await a.store.tombstones())[0]!.horizon).not.toBeNull();
    await meet(a, b);
    await expectEqual(a, b);
    expect(await rows(b)).toHaveLength(4);
  });

  it('leaves a row that is written anew under its key unconcerned', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await a.sql(`INSERT INTO notes VALUES (1, 'first')`);
    await meet(a, b);
    await b.sql('DELETE FROM notes');
    await meet(a, b);
    // Dropped here, and still there.
    await a.store.collect();
    await a.sql(`INSERT INTO notes VALUES (1, 'second')`);
    await meet(a, b);
    expect(await bodies(b)).toEqual(['1 second']);
    expect(await b.store.conflictsResolved()).toBe(0);
    await expectEqual(a, b);
  });
});

it('trap 17, 42: who slept while rows were deleted and forgotten returns with its own writes and without those', async () => {
  await using a = await storeNode('a', schema);
  await using b = await storeNode('b', schema);
  await using c = await storeNode('c', schema);
  await a.sql(`INSERT INTO notes SELECT i, 'row' FROM generate_series(1, 10) AS i`);
  await meet(a, b, c);
  await c.sql(`INSERT INTO notes VALUES (100, 'mine'); UPDATE notes SET body = 'changed' WHERE id IN (2, 9)`);
  await a.sql(`DELETE FROM notes WHERE id <= 5`);
  await b.sql(`UPDATE notes SET body = 'changed there' WHERE id = 8`);
  await evictFrom(a, c);
  await evictFrom(b, c);
  await meet(a, b);
  await a.store.collect();
  await b.store.collect();
  expect([await kept(a), await kept(b)]).toEqual([0, 0]);
  await meet(a, b, c);
  await meet(a, b, c);
  const wanted = ['2 changed', '6 row', '7 row', '8 changed there', '9 changed', '10 row', '100 mine'];
  for (const node of [a, b, c]) expect(await bodies(node)).toEqual(wanted);
  await expectEqual(a, b, c);
  // Changed and deleted: a conflict like any other.
  const { conflicts } = await a.store.conflicts.list({ limit: 10 } as never);
  expect(conflicts).toHaveLength(1);
});

it('serves a new node that a node which slept was linked to first', async () => {
  await using a = await storeNode('a', schema);
  await using b = await storeNode('b', schema);
  await using c = await storeNode('c', schema);
  await using d = await storeNode('d', schema);
  await a.sql(`INSERT INTO notes SELECT i, 'row' FROM generate_series(1, 8) AS i`);
  await meet(a, b, c);
  await a.sql('DELETE FROM notes WHERE id <= 4');
  await evictFrom(a, c);
  await evictFrom(b, c);
  await meet(a, b);
  await a.store.collect();
  await b.store.collect();
  await meet(c, d);
  expect(await rows(d)).toHaveLength(8);
  await meet(a, d);
  await meet(a, b, d);
  await meet(c, d);
  await meet(a, b, c, d);
  for (const node of [a, b, c, d]) expect(await bodies(node)).toEqual(['5 row', '6 row', '7 row', '8 row']);
});

it('lets two meshes that have parted meet again: both copy, and nothing that was written is lost', async () => {
  await using a = await storeNode('a', schema);
  await using b = await storeNode('b', schema);
  await a.sql(`INSERT INTO notes SELECT i, 'row' FROM generate_series(1, 6) AS i`);
  await meet(a, b);
  await evictFrom(a, b);
  await evictFrom(b, a);
  await a.sql(`DELETE FROM notes WHERE id = 1; INSERT INTO notes VALUES (10, 'of a')`);
  await b.sql(`DELETE FROM notes WHERE id = 2; INSERT INTO notes VALUES (20, 'of b')`);
  await a.store.collect();
  await b.store.collect();
  await meet(a, b);
  const wanted = ['3 row', '4 row', '5 row', '6 row', '10 of a', '20 of b'];
  for (const node of [a, b]) expect(await bodies(node)).toEqual(wanted);
  await expectEqual(a, b);
});

it('trap hostile 410: a cursor from before what is kept is told so, and what to do', async () => {
  await using a = await storeNode('a', schema);
  await a.sql(`INSERT INTO notes SELECT i, 'row' FROM generate_series(1, 6) AS i`);
  const shape = a.store.find('notes')!;
  const { cursor } = await a.store.changes(shape, { limit: 100 });
  await a.sql('DELETE FROM notes WHERE id = 1');
  await a.store.collect();
  await expect(a.store.changes(shape, { limit: 100, cursor })).rejects.toMatchObject({
    code: 'gone',
    status: 410,
    message: expect.stringContaining('Start without a cursor') as string,
  });
  await expect(a.store.changes(shape, { limit: 100, since: new Date(0) })).rejects.toMatchObject({ code: 'gone' });
  const again = await a.store.changes(shape, { limit: 100 });
  expect(again.count).toBe(5);
  expect((await a.store.changes(shape, { limit: 100, cursor: again.cursor })).count).toBe(0);
});

it('takes a database back that was restored from before the deletions, with what it writes now and without those', async () => {
  await using a = await storeNode('a', schema);
  const b = await storeNode('b', schema);
  await using _ = b.db;
  await a.sql(`INSERT INTO notes SELECT i, 'row' FROM generate_series(1, 6) AS i`);
  await b.sql(`INSERT INTO notes VALUES (7, 'of b'), (8, 'of b')`);
  await meet(a, b);
  await b.store.close();
  await using restored = await backupOf(b.db);
  const lived = await opened(b.db, 'b');
  await lived.sql('DELETE FROM notes WHERE id IN (1, 2, 7)');
  await meet(a, lived);
  await a.store.collect();
  expect(await kept(a)).toBe(0);
  await lived.store.close();
  await using back = await opened(restored, 'b');
  expect(back.store.identity.epoch).not.toBe(lived.store.identity.epoch);
  await back.sql(`INSERT INTO notes VALUES (9, 'after')`);
  await meet(a, back);
  await meet(a, back);
  for (const node of [a, back]) {
    expect(await bodies(node)).toEqual(['3 row', '4 row', '5 row', '6 row', '8 of b', '9 after']);
  }
});

it('goes on with a copy that a kill -9 cut off, and deletes at its end what the whole of it did not bring', async () => {
  await using a = await storeNode('a', schema);
  await using b = await storeNode('b', schema);
  await a.sql(`INSERT INTO notes SELECT i, 'row' FROM generate_series(1, 3000) AS i`);
  await meet(a, b);
  await b.sql(`INSERT INTO notes VALUES (0, 'mine'), (9000, 'mine')`);
  await evictFrom(a, b);
  await a.sql('DELETE FROM notes WHERE id % 3 = 0');
  await a.store.collect();
  expect(await kept(a)).toBe(0);
  await b.store.inbox.copyAnew(a.id, [table]);
  const pulling = await startPulling(a, b, 20);
  while (pulling.rows < 200) await new Promise((resolve) => setTimeout(resolve, 2));
  await pulling.kill();
  expect((await b.store.inbox.position(a.id))!.copy).not.toBeNull();
  expect(await rows(b)).toHaveLength(3002);
  await meet(a, b);
  expect((await rows(a)).map(({ id }) => id).filter((id) => id % 3 === 0)).toEqual([0, 9000]);
  await expectEqual(a, b);
  expect(await b.sql('SELECT FROM p2p.copied_key')).toEqual([]);
});
