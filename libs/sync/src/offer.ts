import {
  alreadyKnown,
  type FeedRequest,
  isRead,
  type Knowledge,
  nextRequest,
  type Position,
  type References,
} from '@pgmesh/core';
import type { OutgoingWindow, Store } from './ports';

/** Whom a window is for. */
export interface Reader {
  readonly nodeId: string;
  readonly knowledge: Knowledge;
  readonly links: readonly string[];
  /** Whether what we have by way of it is still there: it writes under the incarnation that we read. */
  readonly keepsItsOwn: boolean;
}

/** A node knows all of its own feed. */
const everything = { xmax: 2n ** 62n, xip: [] };

/** A node that was restored from a backup, or was never read by us, wants its own rows back as well. */
export async function readerOf(
  store: Store,
  told: Pick<Reader, 'nodeId' | 'knowledge' | 'links'>,
  epoch?: string,
): Promise<Reader> {
  const position = await store.inbox.position(told.nodeId);
  const { nodeId, links } = told;
  const own =
    epoch === undefined ? {} : { [nodeId]: { cursor: { epoch, snapshot: everything }, tables: store.tables() } };
  const knowledge = { ...told.knowledge, ...own };
  return { nodeId, knowledge, links, keepsItsOwn: epoch !== undefined && position?.epoch === epoch };
}

/**
 * The nodes whose rows a reader need not be sent: those in whose feeds it has come as far as we have, and itself, for what
 * came by way of it.
 */
export function leftOut(ours: Knowledge, reader: Reader, { tables }: FeedRequest): string[] {
  const known = alreadyKnown(ours, reader.knowledge, tables).filter((node) => node !== reader.nodeId);
  return reader.keepsItsOwn ? [...known, reader.nodeId] : known;
}

/** The nodes whose rows a reader will get from them directly, or has already: what is left is for us to bring, at once. */
export function notUrgent(ours: Knowledge, reader: Reader, request: FeedRequest): string[] {
  const direct = reader.links.filter((node) => Object.hasOwn(ours, node) && isRead(ours[node]!));
  return [...new Set([...leftOut(ours, reader, request), ...direct])];
}

/** The nodes that a reader says it is linked to, and of which it knows less than `ours`. */
export function behindOf(ours: Knowledge, reader: Reader, request: FeedRequest): string[] {
  const known = new Set(leftOut(ours, reader, request));
  return notUrgent(ours, reader, request).filter((node) => !known.has(node));
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
export function openFor(store: Store, reader: Reader, request: FeedRequest, limit: number): Promise<OutgoingWindow> {
  return store.feed.open(request, {
    except: (ours) => leftOut(ours, reader, request),
    limit,
    reader: reader.knowledge,
  });
}

/** How many rows a window without those of `except` has, counted no further than `limit`. */
export async function countRows(
  store: Store,
  request: FeedRequest,
  reader: Reader,
  except: (ours: Knowledge) => readonly string[],
  limit: number,
): Promise<number> {
  const window = await store.feed.open(request, { except, limit, reader: reader.knowledge });
  await window.close();
  return window.rows;
}
