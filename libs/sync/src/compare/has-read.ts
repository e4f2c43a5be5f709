import { includes, type Knowledge, nextRequest, type Position, type Seen, type Snapshot } from '@pgmesh/core';
import { Problem } from '@pgmesh/wire';
import { lacksNothing, readerOf } from '../offer';
import type { Store } from '../ports';

/** Where a peer stands, as it has just told. */
export interface Standing {
  readonly nodeId: string;
  /** Its incarnation, as it was last met. */
  readonly epoch: string | undefined;
  /** In our feed. */
  readonly position: Position | null;
  readonly knowledge: Knowledge;
  readonly seen: Seen;
  readonly links: readonly string[];
}

/** Whether a node follows the stream of a table of another's feed: no first copy of it is under way, and it was not left off. */
export function follows(position: Position | null, epoch: string, table: string): position is Position {
  return position?.epoch === epoch && position.tables.includes(table);
}

/**
 * Whether a peer has read all that our table had in the snapshot `since`: because it has come so far in our feed, or because there is nothing that it was
 * not sent or has not by other ways.
 */
export async function hasRead(store: Store, peer: Standing, table: string, since: Snapshot): Promise<boolean> {
  const request = nextRequest(peer.position, store.identity.epoch, [table], 'copy');
  if (request?.kind !== 'window') return false;
  if (includes(peer.position!.complete, since)) return true;
  try {
    return await lacksNothing(store, await readerOf(store, peer, peer.epoch), request);
  } catch (error) {
    // It copies the table anew: what it has not heard of is forgotten here.
    if (error instanceof Problem && error.code === 'gone') return false;
    throw error;
  }
}
