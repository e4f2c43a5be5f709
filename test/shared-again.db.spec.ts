/** A table that a node shared, did not share for a while, and shares again: nobody has kept watch over it meanwhile. */
import { type FeedRequest, nextRequest } from '@pgmesh/core';
import type { PostgresStore } from '@pgmesh/store';
import { openFor, readerOf } from '../libs/sync/src/offer';
import { createDatabase } from './support/database';
import { expectEqual, openStore, storeNode, type StoreNode } from './support/store-node';

const schema = 'CREATE TABLE items (id text PRIMARY KEY, name text); CREATE TABLE orders (id text PRIMARY KEY);';
const tables = ['public.items', 'public.orders'];

/** Brings `to` all that `from` has for it. */
async function bring(from: Pick<StoreNode, 'store'>, to: Pick<StoreNode, 'store'>): Promise<void> {
  let last: FeedRequest['kind'] | null = null;
  for (let steps = 0; steps < 10; steps++) {
    const [{ nodeId, epoch }, { inbox, identity }] = [from.store.identity, to.store];
    const shared = tables.filter((table) => to.store.tables().includes(table) && from.store.tables().includes(table));
    const request: FeedRequest = nextRequest(await inbox.position(nodeId), epoch, shared, last)!;
    const told = { nodeId: identity.nodeId, knowledge: await inbox.knowledge(), seen: await inbox.seen(), links: [] };
    const window = await openFor(from.store, await readerOf(from.store, told, identity.epoch), request, 1_000);
    const applied = await inbox.apply(window.frames());
    if (applied.outcome !== 'applied') throw new Error('The window does not connect');
    last = request.kind;
    if (request.kind === 'window' && applied.position.tables.length === shared.length) return;
  }
  throw new Error('The reading came to no end');
}

it('what a node wrote into it itself, and removed while it was not shared, comes back like all else', async () => {
  await using one = await storeNode('one', schema);
  await using db = await createDatabase();
  await db.sql(schema.split('; ')[0]!);
  await db.sql(schema.split('; ')[1]!);
  /** The node, sharing these, for as long as the work takes. */
  const sharing = async (names: readonly string[], work: (two: { readonly store: PostgresStore }) => Promise<void>) => {
    const store = await openStore(db, 'two', names);
    await work({ store }).finally(() => store.close());
  };
  await one.sql(`INSERT INTO items VALUES ('theirs', 'x')`);
  await sharing(['items', 'orders'], async (two) => {
    await bring(two, one);
    await bring(one, two);
    await db.sql(`INSERT INTO items VALUES ('own', 'x')`);
    await bring(two, one);
    await bring(one, two);
  });
  await sharing(['orders'], async (two) => {
    await bring(two, one);
    await db.sql('DELETE FROM items');
  });
  await sharing(['items', 'orders'], async (two) => {
    for (let round = 0; round < 2; round++) {
      await bring(one, two);
      await bring(two, one);
    }
    expect((await db.sql<{ id: string }>('SELECT id FROM items ORDER BY id')).map(({ id }) => id)).toEqual([
      'own',
      'theirs',
    ]);
    await expectEqual(one, { db, ...two });
  });
});
