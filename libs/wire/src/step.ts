import { parseSnapshot, type Snapshot, type Step } from '@pgmesh/core';
import { fromWireKnowledge } from './exchange';
import type { WindowFrame } from './frame';
import { Problem } from './problem';

/**
 * A window's head as far as positions are concerned.
 * @param anew tables that are copied even where they are followed: as a rule those of which every row is brought
 * @throws Problem `bad_request`
 */
export function stepOf(head: WindowFrame, anew: readonly string[] = head.whole): Step {
  const { tables, at, next, whole, extent } = head;
  const to = snapshotOf(head.to);
  if (head.kind === 'copy') {
    return {
      kind: 'copy',
      tables,
      at,
      to,
      next,
      whole,
      anew,
      known: fromWireKnowledge(head.knowledge),
      ...(extent && { extent }),
    };
  }
  const [from, reached] = [snapshotOf(head.from), snapshotOf(head.reached ?? head.to)];
  return { kind: 'window', tables, from, to, reached, partial: isPartial(head) };
}

/** Whether more than this window lies below its end: it was cut, or rows are held back for others to bring. */
export function isPartial({ more, held }: WindowFrame): boolean {
  return more || held === true;
}

function snapshotOf(text: string): Snapshot {
  const snapshot = parseSnapshot(text);
  if (!snapshot) throw new Problem('bad_request', 'A window names its snapshots as "xmax:xip,…".');
  return snapshot;
}
