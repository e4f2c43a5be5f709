import { type ConstraintDifference, constraintDifference } from '@pgmesh/core';
import type { Neighbour } from './neighbours';
import type { Store } from './ports';

/**
 * Of which shared tables a peer keeps out other rows than we do. One that has told only its digest so far is left out: what it has
 * follows with its next greeting.
 */
export function constraintsDiffer(
  store: Pick<Store, 'identity' | 'tables' | 'forms'>,
  { nodeId, tables: shared, told }: Neighbour,
): ConstraintDifference[] {
  const forms = store.forms();
  return store.tables().flatMap((table) => {
    const ours = forms.get(table);
    const digest = told.constraints.digests.get(table);
    const theirs = told.constraints.wholes.get(table);
    if (!ours || !theirs || !shared.includes(table) || digest === ours.constraintsDigest) return [];
    const here = { node: store.identity.nodeId, definitions: ours.constraints };
    return constraintDifference(table, here, { node: nodeId, definitions: theirs }) ?? [];
  });
}
