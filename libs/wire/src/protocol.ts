import type { CopyPoint } from '@pgmesh/core';
import type { WireKnowledge, WireSeen } from './frame';

/**
 * The version of what nodes say to each other. Nodes of different versions refuse each other by name.
 *
 * 1  2026-11  windows, first copies, hints, knowledge
 * 2  2026-11  versions say where they were made (`made_in`, `made_xid`); nodes tell what they have of each origin (`seen`); windows tell
 *             of rows beyond their end (`reached`), of what others are to bring (`held`), what their reader must know
 *             (`guards`), and how far a copy is (`extent`)
 */
export const protocolVersion = 2;

export const windowContentType = 'application/vnd.pgmesh.window';
export const problemContentType = 'application/problem+json';

/** What `POST /p2p/window` asks for: all that is new over `tables` since `from`, or the next piece of a first copy. */
export interface WindowRequest {
  readonly protocol: number;
  /** The asker. */
  readonly node_id: string;
  /** The incarnation of the feed that the asker's position is of; null before the first window. Another one is answered 409. */
  readonly epoch: string | null;
  /** The asker's tables; those that the answerer does not share are left out of the answer (see `WindowFrame.tables`). */
  readonly tables: readonly string[];
  readonly kind: 'window' | 'copy';
  /** For a window: `xmax:xip,…` */
  readonly from: string | null;
  /** For a first copy: where to go on; null starts it. */
  readonly at: CopyPoint | null;
  /** For a copy that goes on: the tables of which it brought every row so far (see `WindowFrame.whole`). */
  readonly whole: readonly string[];
  readonly limit: number;
  /** Seconds to hold the request until there is something, 0 to 60. */
  readonly wait: number;
  /** What the asker knows, so that it is not sent again. */
  readonly knowledge: WireKnowledge;
  readonly seen: WireSeen;
  /** The nodes that the asker is in direct touch with: what came from them need not be forwarded in haste. */
  readonly links: readonly string[];
}
