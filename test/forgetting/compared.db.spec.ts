import { decodeFrames } from '@pgmesh/wire';
import { expectEqual, storeNode, type StoreNode } from '../support/store-node';
import { bodies, encoded, evictFrom, kept, made, meet, schema, table } from './meeting';

/** Sends rows by their keys, as nodes do that have compared theirs. */
async function send(from: StoreNode, to: StoreNode, ...ids: readonly number[]): Promise<void> {
  const window = await from.store.digests.open(
    table,
    ids.map((id) => [String(id)]),
  );
  const applied = await to.store.inbox.apply(decodeFrames(encoded(window.frames())));
  expect(applied.outcome).toBe('applied');
}

/** Takes rows away with all that was known of them, as no write does. */
async function lose(node: StoreNode, condition: string): Promise<void> {
  const { meta } = node.store.find(table)!;
  await node.sql(`ALTER TABLE notes DISABLE TRIGGER USER; DELETE FROM notes WHERE ${condition};
    DELETE FROM ${meta} WHERE ${condition.replaceAll('id', 'key1')}; ALTER TABLE notes ENABLE TRIGGER USER`);
  const triggers = await node.sql<{ name: string }>(
    `SELECT tgname AS name FROM pg_trigger WHERE tgrelid = 'notes'::regclass AND NOT tgisinternal`,
  );
  for (const { name } of triggers) await node.sql(`ALTER TABLE notes ENABLE ALWAYS TRIGGER "${name}"`);
}

describe('Nodes that compare, where deletions were forgotten', () => {
  it('get back what one of them has lost, and nothing that was deleted', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await a.sql(`INSERT INTO notes SELECT i, 'row' FROM generate_series(1, 6) AS i`);
    await meet(a, b);
    await a.sql('DELETE FROM notes WHERE id <= 2');
    await meet(a, b);
    await a.store.collect();
    expect([await kept(a), await kept(b)]).toEqual([0, 2]);
    await a.sql(`INSERT INTO notes VALUES (2, 'anew')`);
    await lose(a, 'id IN (4, 5)');
    await send(b, a, 1, 2, 3, 4, 5, 6);
    expect(await bodies(a)).toEqual(['2 anew', '3 row', '4 row', '5 row', '6 row']);
    expect(await kept(a)).toBe(0);
    expect((await made(a, table))[4]).toBe((await made(b, table))[4]);
    await send(a, b, 1, 2, 3, 4, 5, 6);
    expect(await bodies(b)).toEqual(['2 anew', '3 row', '4 row', '5 row', '6 row']);
    expect([await a.store.conflictsResolved(), await b.store.conflictsResolved()]).toEqual([0, 0]);
    await meet(a, b);
    await expectEqual(a, b);
  });

  it('copy first where one of them lacks what was forgotten', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await a.sql(`INSERT INTO notes SELECT i, 'row' FROM generate_series(1, 4) AS i`);
    await meet(a, b);
    await evictFrom(a, b);
    await a.sql('DELETE FROM notes WHERE id <= 2');
    await a.store.collect();
    await b.sql(`UPDATE notes SET body = 'mine' WHERE id = 4`);
    await expect(send(b, a, 1, 2, 4)).rejects.toMatchObject({ code: 'behind', status: 409 });
    await send(a, b, 1, 2, 3, 4);
    expect(await bodies(b)).toEqual(['1 row', '2 row', '3 row', '4 mine']);
    await meet(a, b);
    for (const node of [a, b]) expect(await bodies(node)).toEqual(['3 row', '4 mine']);
    await expectEqual(a, b);
  });
});
