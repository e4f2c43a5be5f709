/**
 * Windows that have rows of transactions which their end does not show: of some of a transaction's rows that others are expected to
 * bring, or of rows that come alone, to repair them. Nobody may take them to be where only that end has been reached. And windows of which
 * the end shows transactions whose rows have been written since, and are still to come.
 */
import { feedName, type FeedRequest, includes, nextRequest } from '@pgmesh/core';
import type { Later, OutgoingWindow, Store } from '@pgmesh/sync';
import { openFor, readerOf } from '../libs/sync/src/offer';
import { MemoryStore } from '../libs/sync/test-support/memory-store';
import { storeNode } from './support/store-node';

const table = 'public.items';
const tables = [table, 'public.orders'];

interface Node extends AsyncDisposable {
  readonly store: Store;
  write(key: string): Promise<unknown>;
  keys(): Promise<string[]>;
}

const inMemory = async (id: string): Promise<Node> => {
  const store = new MemoryStore(id, tables);
  return {
    store,
    write: async (key) => store.write(table, key, 'x'),
    keys: async () => Object.keys(store.contents()[table]!).sort(),
    [Symbol.asyncDispose]: async () => undefined,
  };
};

const schema = 'CREATE TABLE items (id text PRIMARY KEY, name text); CREATE TABLE orders (id text PRIMARY KEY);';

const inPostgres = async (id: string): Promise<Node> => {
  const node = await storeNode(id, schema);
  return {
    store: node.store,
    write: (key) => node.sql(`INSERT INTO items VALUES ($1, 'x') ON CONFLICT (id) DO UPDATE SET name = 'again'`, [key]),
    keys: async () => (await node.sql<{ id: string }>('SELECT id FROM items ORDER BY id')).map(({ id }) => id),
    [Symbol.asyncDispose]: () => node[Symbol.asyncDispose](),
  };
};

/** What `to` would be sent by `from` next. */
async function offered(from: Node, to: Node, later: Later | null = null, limit = 1_000): Promise<OutgoingWindow> {
  const [{ nodeId, epoch }, { inbox, identity }] = [from.store.identity, to.store];
  const request: FeedRequest = nextRequest(await inbox.position(nodeId), epoch, tables, null)!;
  const told = { nodeId: identity.nodeId, knowledge: await inbox.knowledge(), seen: await inbox.seen(), links: [] };
  return openFor(from.store, await readerOf(from.store, told, identity.epoch), request, limit, later);
}

async function give(from: Node, to: Node, later: Later | null = null, limit?: number): Promise<number> {
  const window = await offered(from, to, later, limit);
  const applied = await to.store.inbox.apply(window.frames());
  if (applied.outcome !== 'applied') throw new Error('The window does not connect');
  return applied.rows;
}

async function giveEach(...pairs: readonly (readonly [Node, Node])[]): Promise<void> {
  for (const [from, to] of pairs) await give(from, to);
}

const originOf = ({ store: { identity } }: Node) => feedName(identity.nodeId, identity.epoch);

describe.each([
  ['in memory', inMemory],
  ['in PostgreSQL', inPostgres],
])('%s', (_, start) => {
  it('rows of a transaction of which others were held back reach who stands where the window ended, and has none of them', async () => {
    await using one = await start('one');
    await using two = await start('two');
    await using both = await start('both');
    await using sender = await start('sender');
    await using middle = await start('middle');
    await using last = await start('last');
    const ways = [
      [one, both],
      [two, both],
      [both, sender],
      [sender, middle],
      [sender, last],
      [middle, last],
    ] as const;
    for (const [from, to] of ways) await give(from, to);

    await one.write('1');
    await two.write('2');
    await give(one, both);
    await give(two, both);
    // Merged here in one transaction.
    expect(await give(both, sender)).toBe(2);
    const later = (...nodes: Node[]): Later => ({ nodes: [], origins: nodes.map(originOf), from: 0n });
    expect(await give(sender, middle, later(two))).toBe(1);
    expect(await give(sender, last, later(one, two))).toBe(0);
    const [at, reached] = [await last.store.inbox.position('sender'), await middle.store.inbox.position('sender')];
    expect(includes(at!.snapshot, reached!.snapshot)).toBe(true);

    expect(await give(middle, last)).toBe(1);
    expect(await last.keys()).toEqual(['1']);
    expect(await give(sender, last)).toBe(1);
    expect(await last.keys()).toEqual(['1', '2']);
  });

  it('a row that its source has written again behind a cut is brought by others to who stands there', async () => {
    await using one = await start('one');
    await using two = await start('two');
    await using other = await start('other');
    await using last = await start('last');
    await giveEach([one, two], [two, one], [one, other], [one, last], [other, last]);

    await one.write('1');
    await give(one, other);
    for (const key of ['2', '3', '4', '5']) await one.write(key);
    await two.write('1');
    // Two versions now, in a transaction of its own.
    await give(two, one);
    const before = await last.store.inbox.knowledge();
    await give(one, last, null, 2);
    expect(await last.keys()).not.toContain('1');
    const { snapshot, complete } = (await last.store.inbox.position('one'))!;
    expect(includes(snapshot, (await other.store.inbox.position('one'))!.snapshot)).toBe(true);
    expect(complete).toEqual(before.one!.cursor.snapshot);
    expect((await last.store.inbox.knowledge()).one!.cursor).toEqual(before.one!.cursor);

    // Its source is gone.
    await give(other, last);
    expect(await last.keys()).toContain('1');
  });

  it('who was left rows to get from others claims nothing of what else the sender had', async () => {
    await using one = await start('one');
    await using two = await start('two');
    await using sender = await start('sender');
    await using last = await start('last');
    await giveEach([one, sender], [two, sender], [one, last], [sender, last]);
    const before = await last.store.inbox.knowledge();
    await one.write('1');
    await give(one, sender);
    await sender.write('2');
    expect(await give(sender, last, { nodes: [], origins: [originOf(one)], from: 0n })).toBe(1);
    expect(await last.store.inbox.knowledge()).toMatchObject({
      sender: { cursor: before.sender!.cursor },
      one: { cursor: before.one!.cursor },
    });
    expect(await give(sender, last)).toBe(1);
    const { one: ofOne, sender: ofSender } = await last.store.inbox.knowledge();
    expect(ofOne!.cursor).not.toEqual(before.one!.cursor);
    expect(ofSender!.cursor).not.toEqual(before.sender!.cursor);
  });

  it('who was left rows to get from others is not brought by them what the sender wrote itself', async () => {
    await using one = await start('one');
    await using sender = await start('sender');
    await using other = await start('other');
    await using last = await start('last');
    await giveEach([one, sender], [one, last], [sender, other], [sender, last], [other, last]);
    await one.write('1');
    await give(one, sender);
    await sender.write('2');
    await give(sender, other);
    expect(await give(sender, last, { nodes: [], origins: [originOf(one)], from: 0n })).toBe(1);
    expect(await last.keys()).toEqual(['2']);
    expect(await give(other, last)).toBe(1);
    expect(await last.keys()).toEqual(['1', '2']);
  });

  it('of a version that is to come under another that covers it nothing counts as seen', async () => {
    await using one = await start('one');
    await using two = await start('two');
    await using sender = await start('sender');
    await using other = await start('other');
    await using last = await start('last');
    for (const from of [one, two]) for (const to of [sender, other, last]) await give(from, to);
    await give(one, two);
    await giveEach([sender, last], [other, last]);
    await one.write('1');
    for (const to of [two, sender, other]) await give(one, to);
    await two.write('1');
    await give(two, sender);
    expect(await give(sender, last, { nodes: [], origins: [originOf(two)], from: 0n })).toBe(0);
    // Whoever wrote over it is gone, and so is who has that.
    await give(other, last);
    expect(await last.keys()).toEqual(['1']);
  });

  it('a row that came alone is passed on to who has not read so far', async () => {
    await using sender = await start('sender');
    await using middle = await start('middle');
    await using last = await start('last');
    await giveEach([sender, middle], [sender, last], [middle, last]);
    await sender.write('1');
    const window = await sender.store.digests.open(table, [['1']]);
    const before = await middle.store.inbox.position('sender');
    await middle.store.inbox.apply(window.frames());
    expect((await middle.store.inbox.position('sender'))!.snapshot).toEqual(before!.snapshot);
    expect((await middle.store.inbox.seen())[originOf(sender)]).toEqual(before!.snapshot);
    expect(await give(middle, last)).toBe(1);
    expect(await last.keys()).toEqual(['1']);
    // With its transaction: by its origin it is known to be there once that was read.
    await give(sender, middle);
    expect(await give(sender, last)).toBe(1);
    expect(await give(middle, last)).toBe(0);
  });

  it('of a table that is not followed yet nothing counts as seen, whatever a window says', async () => {
    await using sender = await start('sender');
    await using reader = await start('reader');
    const { epoch } = sender.store.identity;
    const copy = { kind: 'copy', tables: [table], at: null } as const;
    const window = await sender.store.feed.open(copy, { except: () => [], limit: 10 });
    await reader.store.inbox.apply(window.frames());
    const { snapshot } = (await reader.store.inbox.position('sender'))!;
    await sender.write('1');
    const over = await sender.store.feed.open(
      { kind: 'window', tables, from: snapshot },
      { except: () => [], limit: 10 },
    );
    await reader.store.inbox.apply(over.frames());
    expect(await reader.store.inbox.position('sender')).toMatchObject({ epoch, tables: [table] });
    expect(await reader.keys()).toEqual(['1']);
    expect(await reader.store.inbox.seen()).toEqual({});
  });
});
