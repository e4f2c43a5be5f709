import { everything, evict, type FeedRequest, type Knowledge, type Member, nextRequest } from '@pgmesh/core';
import { decodeFrames, encodeFrame, type Frame, Problem } from '@pgmesh/wire';
import type { StoreNode } from '../support/store-node';

export const schema = 'CREATE TABLE notes (id int PRIMARY KEY, body text)';
export const table = 'public.notes';

type Kind = FeedRequest['kind'];

/** What a request came to: what was brought, whether there is no more, or that the sender has to read first. */
interface Outcome {
  readonly last: Kind | null;
  readonly isEnd: boolean;
  readonly isBehind?: boolean;
}

/** Asks for what comes next, as nodes do: with what is known, and copying anew where that is told. */
async function ask(from: StoreNode, to: StoreNode, last: Kind | null): Promise<Outcome> {
  const { nodeId, epoch } = from.store.identity;
  const position = await to.store.inbox.position(nodeId);
  const request = nextRequest(position, epoch, [table], last);
  if (request === null) return { last, isEnd: true };
  const { epoch: own } = to.store.identity;
  const all = { cursor: { epoch: own, snapshot: everything }, tables: [table] };
  const reader: Knowledge = { ...(await to.store.inbox.knowledge()), [to.id]: all };
  try {
    const window = await from.store.feed.open(request, { except: () => [], limit: 100, reader });
    const applied = await to.store.inbox.apply(decodeFrames(encoded(window.frames())));
    if (applied.outcome !== 'applied') throw new Error('The window did not connect');
    const isEnd = request.kind === 'window' && !window.head.more && applied.position.copy === null;
    return { last: request.kind, isEnd };
  } catch (error) {
    if (!(error instanceof Problem) || (error.code !== 'gone' && error.code !== 'behind')) throw error;
    if (error.code === 'gone') await to.store.inbox.copyAnew(nodeId, [table]);
    // It may be in the midst of copying already.
    else await from.store.inbox.copyAnew(to.id, [table]);
    return { last, isEnd: false, isBehind: error.code === 'behind' };
  }
}

/** Reads to the end of what there is. */
export async function read(from: StoreNode, to: StoreNode): Promise<void> {
  let last: Kind | null = null;
  for (let asked = 0; asked < 1_000; asked++) {
    const outcome = await ask(from, to, last);
    if (outcome.isEnd) return;
    if (outcome.isBehind) await read(to, from);
    last = outcome.last;
  }
  throw new Error('The reading came to no end');
}

/** Two read from each other at the same time, until both are at the end. */
export async function exchange(one: StoreNode, other: StoreNode): Promise<void> {
  let lasts: readonly [Kind | null, Kind | null] = [null, null];
  for (let asked = 0; asked < 200; asked++) {
    const [here, there] = [await ask(other, one, lasts[0]), await ask(one, other, lasts[1])];
    if (here.isEnd && there.isEnd) return;
    lasts = [here.last, there.last];
  }
  throw new Error('The exchange came to no end');
}

export async function* encoded(frames: AsyncIterable<Frame>): AsyncGenerator<Uint8Array> {
  for await (const frame of frames) yield encodeFrame(frame);
}

/** All read from all, and tell each other how far they have come. */
export async function meet(...nodes: readonly StoreNode[]): Promise<void> {
  for (let round = 0; round < 2; round++) {
    for (const to of nodes) for (const from of nodes) if (from !== to) await read(from, to);
  }
  for (const node of nodes) await node.store.members.claim(Date.now(), true);
  for (const from of nodes) {
    const told = await from.store.members.list();
    for (const to of nodes) await to.store.members.join(told);
  }
  // What was claimed is acted upon by who has come to where it was.
  for (const to of nodes) for (const from of nodes) if (from !== to) await read(from, to);
}

export async function evictFrom(node: StoreNode, other: StoreNode): Promise<void> {
  await node.store.members.change(other.id, (member: Member) => evict(member, Date.now(), node.id));
}

export const rows = (node: StoreNode) =>
  node.sql<{ id: number; body: string }>('SELECT id, body FROM notes ORDER BY id');
export const bodies = async (node: StoreNode) => (await rows(node)).map(({ id, body }) => `${id} ${body}`);
export const kept = async (node: StoreNode) => (await node.store.tombstones())[0]!.kept;

/** Where the versions of a table's rows were made, by key. */
export async function made(node: StoreNode, table: string): Promise<Record<string, string>> {
  const { nodeId, epoch } = node.store.identity;
  const rows = await node.sql<{ key: string; place: string }>(
    `SELECT key1::text AS key, concat_ws(' ', coalesce(made_in, via, '${nodeId}~${epoch}'), coalesce(made_xid, xid)) AS place
     FROM ${node.store.find(table)!.meta} ORDER BY 1`,
  );
  return Object.fromEntries(rows.map(({ key, place }) => [key, place]));
}
