import { type MaxVersions, parseMaxVersions } from '@pgmesh/core';
import type { KeptVersion } from '@pgmesh/store';
import { expectEqual, openStore, pull, settle, storeNode, type StoreNode } from './support/store-node';

const items = 'CREATE TABLE items (id int PRIMARY KEY, name text, qty int);';

const keep = (text: string): { maxVersions: MaxVersions } => {
  const outcome = parseMaxVersions(text);
  if (!outcome.ok) throw new Error(outcome.problems.join(' '));
  return { maxVersions: outcome.maxVersions };
};

const historyOf = ({ store }: Pick<StoreNode, 'store'>, key: string[], table = 'items'): Promise<KeptVersion[]> =>
  store.rowHistory.list(store.find(table)!, key);

/** `how name` of each version, the newest first; a deletion is a dash. */
const told = async (node: Pick<StoreNode, 'store'>, id: number, column = 'name'): Promise<string[]> =>
  (await historyOf(node, [String(id)])).map(({ how, row, deleted }) => `${how} ${deleted ? '-' : row![column]}`);

describe('The history of a row', () => {
  it('holds what was written, received, and lost a conflict', async () => {
    await using a = await storeNode('a', items, ['*'], keep('5'));
    await using b = await storeNode('b', items, ['*'], keep('5'));
    await a.sql(`INSERT INTO items VALUES (1, 'made by a', 1)`);
    await settle(a, b);
    await b.sql(`UPDATE items SET name = 'changed by b'`);
    await settle(a, b);
    expect(await told(a, 1)).toEqual(['received changed by b', 'written made by a']);
    expect(await told(b, 1)).toEqual(['written changed by b', 'received made by a']);
    await a.sql(`UPDATE items SET name = 'early'`);
    await b.sql(`UPDATE items SET name = 'late'`);
    await settle(a, b);
    expect(await told(a, 1)).toEqual(['received late', 'lost early', 'received changed by b', 'written made by a']);
    expect(await told(b, 1)).toEqual(['written late', 'lost early', 'written changed by b', 'received made by a']);
    const [late, early] = await historyOf(a, ['1']);
    expect([late!.current, early!.current]).toEqual([true, false]);
    expect(late!.row).toEqual({ id: '1', name: 'late', qty: '1' });
  });

  it('goes to the number that was asked for, and takes a transaction for one change', async () => {
    await using node = await storeNode('n', items, ['*'], keep('3'));
    await node.sql(`INSERT INTO items VALUES (1, 'v0', 0), (2, 'w0', 0)`);
    for (let i = 1; i <= 5; i++) await node.sql(`UPDATE items SET name = 'v${i}' WHERE id = 1`);
    expect(await told(node, 1)).toEqual(['written v5', 'written v4', 'written v3']);
    await node.sql(`UPDATE items SET name = name`);
    expect(await told(node, 1)).toHaveLength(3);
    await node.sql(
      `BEGIN; UPDATE items SET name = 'x'; UPDATE items SET name = 'y'; UPDATE items SET name = name; COMMIT`,
    );
    expect(await told(node, 1)).toEqual(['written y', 'written v5', 'written v4']);
    expect(await told(node, 2)).toEqual(['written y', 'written w0']);
  });
});
