import { parseSnapshot, type Step } from '@pgmesh/core';
import { fromWireKnowledge, Problem, type WindowFrame } from '@pgmesh/wire';

/** A window's head as far as positions are concerned. */
export function stepOf(head: WindowFrame): Step {
  const [from, to] = [parseSnapshot(head.from), parseSnapshot(head.to)];
  if (!from || !to) throw new Problem('bad_request', 'A window names its snapshots as "xmax:xip,…".');
  return head.kind === 'window'
    ? { kind: 'window', tables: head.tables, from, to }
    : {
        kind: 'copy',
        tables: head.tables,
        at: head.at,
        to,
        next: head.next,
        whole: head.whole,
        // Whoever is brought every row has to copy what it followed.
        anew: head.whole,
        known: fromWireKnowledge(head.knowledge),
      };
}
