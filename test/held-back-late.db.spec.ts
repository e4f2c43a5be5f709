/** A window of which some rows are left for others to bring ends, it may be, where its reader has been long ago: what it has is new all the same. */
import { setTimeout as sleep } from 'node:timers/promises';
import { feedName, type FeedRequest, nextRequest } from '@pgmesh/core';
import type { Later, OutgoingWindow } from '@pgmesh/sync';
import { openFor, readerOf } from '../libs/sync/src/offer';
import { bodies, kept, meet, schema, table } from './forgetting/meeting';
import { expectEqual, storeNode, type StoreNode } from './support/store-node';

const tables = [table];

/** What `to` is to be sent by `from` next. */
async function offered(from: StoreNode, to: StoreNode, later: Later | null = null): Promise<OutgoingWindow> {
  const [{ nodeId, epoch }, { inbox, identity }] = [from.store.identity, to.store];
  const request: FeedRequest = nextRequest(await inbox.position(nodeId), epoch, tables, null)!;
  const told = { nodeId: identity.nodeId, knowledge: await inbox.knowledge(), seen: await inbox.seen(), links: [] };
  const reader = await readerOf(from.store, told, identity.epoch);
  return openFor(from.store, reader, request, 1_000, later);
}

/** Gives it that; the rows that it had. */
const give = async (from: StoreNode, to: StoreNode): Promise<number> => take(to, await offered(from, to));

async function take(to: StoreNode, window: OutgoingWindow, frames = window.frames()): Promise<number> {
  const applied = await to.store.inbox.apply(frames);
  if (applied.outcome !== 'applied') throw new Error('The window does not connect');
  return applied.rows;
}

/** While a merge is open at a node, and cannot go on yet. */
async function inMidst<T>(node: StoreNode, merging: () => Promise<unknown>, work: () => Promise<T>): Promise<T> {
  const client = await node.db.pool.connect();
  try {
    // Those who read it are let through, and it takes no transaction id.
    await client.query('BEGIN; LOCK TABLE p2p.position IN EXCLUSIVE MODE');
    const merged = merging();
    const waits = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND backend_xid IS NOT NULL AND wait_event_type = 'Lock'`;
    for (let tries = 0; tries < 200 && (await node.sql(waits)).length === 0; tries++) await sleep(5);
    const done = await work();
    await client.query('COMMIT');
    await merged;
    return done;
  } finally {
    client.release();
  }
}

const withoutThoseOf = ({ store: { identity } }: StoreNode): Later => ({
  nodes: [],
  origins: [feedName(identity.nodeId, identity.epoch)],
  from: 0n,
});

describe('Rows of a transaction of which others are held back', () => {
  let [one, two, both, sender, last] = [] as unknown as StoreNode[] as [
    StoreNode,
    StoreNode,
    StoreNode,
    StoreNode,
    StoreNode,
  ];
  let all: StoreNode[] = [];

  beforeEach(async () => {
    all = await Promise.all(['one', 'two', 'both', 'sender', 'last'].map((id) => storeNode(id, schema)));
    [one, two, both, sender, last] = all as [StoreNode, StoreNode, StoreNode, StoreNode, StoreNode];
  });

  afterEach(async () => {
    for (const node of all) await node[Symbol.asyncDispose]();
  });

  /** Both rows come to `sender` in one transaction; `last` is to get the second from elsewhere. */
  async function sendOneOfTwo(): Promise<void> {
    await one.sql(`INSERT INTO notes VALUES (1, 'first')`);
    await two.sql(`INSERT INTO notes VALUES (2, 'second')`);
    await give(one, both);
    await give(two, both);
    const before = await inMidst(
      sender,
      () => give(both, sender),
      () => offered(sender, last),
    );
    const after = await offered(sender, last, withoutThoseOf(two));
    await take(last, before);
    expect(await take(last, after)).toBe(1);
  }

  it('are taken where deletions have been forgotten', async () => {
    await one.sql(`INSERT INTO notes VALUES (0, 'gone')`);
    await meet(...all);
    await one.sql('DELETE FROM notes');
    await meet(...all);
    await last.store.collect();
    expect(await kept(last)).toBe(0);
    await give(sender, last);
    await sendOneOfTwo();
    expect(await bodies(last)).toEqual(['1 first']);
    await give(sender, last);
    expect(await bodies(last)).toEqual(['1 first', '2 second']);
  });

  it('are in conflict with what is here', async () => {
    await meet(...all);
    await last.sql(`INSERT INTO notes VALUES (1, 'here')`);
    await sendOneOfTwo();
    await give(sender, last);
    await give(last, sender);
    await give(sender, last);
    await give(sender, both);
    await give(both, sender);
    await expectEqual(both, sender, last);
    expect(await bodies(last)).toEqual(['1 first', '2 second']);
  });
});
