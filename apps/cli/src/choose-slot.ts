import { freeSlot, type Slot, slotProblem } from '@pgmesh/core';

/** What `GET /p2p/status` says of slots. */
export interface ToldOfSlots {
  readonly node_id: string;
  readonly sequences: Slot | null;
  readonly peers: readonly { readonly node_id: string | null; readonly url: string; readonly sequences: Slot | null }[];
}

/**
 * The lowest slot that neither a node nor any of its peers has; our own where nobody else has it. `unmet` are the peers of which it
 * knows no slot. @throws Error when none is free, or others count in other steps
 */
export function chooseSlot(
  told: ToldOfSlots,
  us: { readonly node_id: string | null; readonly slot: Slot | null },
  of: number,
): { readonly chosen: Slot; readonly unmet: readonly string[] } {
  const problem = slotProblem({ slot: 1, of });
  if (problem !== null) throw new Error(problem);
  const others = [{ node_id: told.node_id, url: '', sequences: told.sequences }, ...told.peers].filter(
    ({ node_id }) => node_id === null || node_id !== us.node_id,
  );
  const other = others.find(({ sequences }) => sequences !== null && sequences.of !== of);
  if (other) {
    throw new Error(
      `${other.node_id} counts in steps of ${other.sequences!.of}, not ${of}: all nodes need the same. Take --of ${other.sequences!.of}, ` +
        'or interleave all nodes anew.',
    );
  }
  const taken = others.flatMap(({ sequences }) => (sequences === null ? [] : [sequences]));
  const ours = us.slot?.of === of && !taken.some(({ slot }) => slot === us.slot!.slot) ? us.slot : null;
  const chosen = ours ?? freeSlot(of, taken);
  if (chosen === null) throw new Error(`All ${of} slots are taken. Interleave all nodes anew, with a greater --of.`);
  const unmet = others.filter(({ sequences }) => sequences === null).map(({ node_id, url }) => node_id ?? url);
  return { chosen, unmet };
}
