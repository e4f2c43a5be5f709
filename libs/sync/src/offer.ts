import {
  alreadyKnown,
  everything,
  feedName,
  type FeedRequest,
  type Knowledge,
  nextRequest,
  type Position,
  type References,
  type Seen,
} from '@pgmesh/core';
import type { Later, OutgoingWindow, Store } from './ports';

/** Whom a window is for. */
export interface Reader {
  readonly nodeId: string;
  readonly knowledge: Knowledge;
  readonly seen: Seen;
  readonly links: readonly string[];
  /** The feed under which it has kept all of its own, by `feedName`: it writes under the incarnation that we read. */
  readonly own: string | null;
}

/** A node knows all of its own feed. One that was restored from a backup, or was never read by us, wants its own rows back as well. */
export async function readerOf(
  store: Store,
  told: Pick<Reader, 'nodeId' | 'knowledge' | 'seen' | 'links'>,
  epoch?: string,
): Promise<Reader> {
  const position = await store.inbox.position(told.nodeId);
  const { nodeId, seen, links } = told;
  const keepsItsOwn = epoch !== undefined && position?.epoch === epoch;
  const own =
    epoch === undefined ? {} : { [nodeId]: { cursor: { epoch, snapshot: everything }, tables: store.tables() } };
  const knowledge = { ...told.knowledge, ...own };
  return { nodeId, knowledge, seen, links, own: keepsItsOwn ? feedName(nodeId, epoch) : null };
}

/**
 * The nodes whose rows a reader need not be sent: those in whose feeds it has come as far as we have, and itself, for what
 * came by way of it.
 */
export function leftOut(ours: Knowledge, reader: Reader, { tables }: FeedRequest): string[] {
  const known = alreadyKnown(ours, reader.knowledge, tables).filter((node) => node !== reader.nodeId);
  return reader.own === null ? known : [...known, reader.nodeId];
}

/**
 * What of our feed others are expected to bring a reader: what came by way of nodes that it is linked to, or was written there, and
 * the rows of origins that have reached it sooner another way before.
 */
export function expected(reader: Reader, self: string, elsewhere: ReadonlySet<string>, from: bigint): Later | null {
  const nodes = reader.links.filter((node) => node !== self && node !== reader.nodeId);
  return nodes.length + elsewhere.size > 0 ? { nodes, origins: [...elsewhere], from } : null;
}

/** What to push to a reader next; null when there is nothing to share, or only a first copy that it fetches by itself. */
export function pushRequest(
  position: Position | null,
  epoch: string,
  shared: readonly string[],
  last: FeedRequest['kind'] | null,
  mayCopy: boolean,
  references: References = [],
): FeedRequest | null {
  const request = nextRequest(position, epoch, shared, mayCopy ? last : 'copy', references);
  return request?.kind === 'copy' && !mayCopy ? null : request;
}

/**
 * Opens what a reader does not have yet. What may be left out is judged within the window's own snapshot: were a window applied
 * between the judgement and the snapshot, rows would be left out that the reader does not have, and the end would tell it
 * that it has them.
 */
export function openFor(
  store: Store,
  reader: Reader,
  request: FeedRequest,
  limit: number,
  later: Later | null = null,
): Promise<OutgoingWindow> {
  return store.feed.open(request, {
    except: (ours) => leftOut(ours, reader, request),
    seen: reader.own === null ? reader.seen : { ...reader.seen, [reader.own]: everything },
    later: request.kind === 'window' ? later : null,
    limit,
    reader: reader.knowledge,
  });
}

/** Whether a feed has nothing that its reader has not, by whichever way. */
export async function lacksNothing(store: Store, reader: Reader, request: FeedRequest): Promise<boolean> {
  const window = await openFor(store, reader, request, 1);
  await window.close();
  return window.rows === 0;
}

/** How many rows a feed has that its reader has not passed, whether it has them by other ways or not; counted no further than `limit`. */
export async function countRows(store: Store, request: FeedRequest, reader: Reader, limit: number): Promise<number> {
  const window = await store.feed.open(request, { except: () => [], limit, reader: reader.knowledge });
  await window.close();
  return window.rows;
}
