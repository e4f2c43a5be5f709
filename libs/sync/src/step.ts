import { parseSnapshot, type Step } from '@pgmesh/core';
import { fromWireKnowledge, Problem, type WindowFrame } from '@pgmesh/wire';

/** A window's head as far as positions are concerned. */
export function stepOf(head: WindowFrame): Step {
  const [from, to, reached] = [head.from, head.to, head.reached ?? head.to].map(parseSnapshot);
  if (!from || !to || !reached) throw new Problem('bad_request', 'A window names its snapshots as "xmax:xip,…".');
  return head.kind === 'window'
    ? { kind: 'window', tables: head.tables, from, to, reached }
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
