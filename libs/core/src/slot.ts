/**
 * A node's number among the nodes of a mesh, and the greatest number of them there will ever be: of serial keys it draws those that
 * leave the remainder of `slot` when they are divided by `of`, so that no two nodes ever draw the same.
 */
export interface Slot {
  /** 1 to `of`. */
  readonly slot: number;
  readonly of: number;
}

/** The longest step: 32-bit keys leave each of so many nodes 200,000 numbers. */
export const longestStride = 10_000;

/** What is wrong with it as a slot, in a sentence; null when nothing is. */
export function slotProblem({ slot, of }: Slot): string | null {
  if (!Number.isInteger(of) || of < 1 || of > longestStride) {
    return `The number of nodes is a whole number from 1 to ${longestStride}: the most that the mesh will ever have.`;
  }
  if (!Number.isInteger(slot) || slot < 1 || slot > of) {
    return `The slot is a whole number from 1 to the number of nodes, which is ${of}: one for each node.`;
  }
  return null;
}

/** Whether the number is one that a node of this slot may draw. */
export function isDrawnBy({ slot, of }: Slot, value: bigint): boolean {
  return (value - BigInt(slot)) % BigInt(of) === 0n;
}

/** The number nearest to `from`, and not before it in the direction of counting, that a node of this slot may draw. */
export function firstDrawn({ slot, of }: Slot, from: bigint, ascending: boolean): bigint {
  const stride = BigInt(of);
  const over = (((from - BigInt(slot)) % stride) + stride) % stride;
  if (over === 0n) return from;
  return ascending ? from + stride - over : from - over;
}

/** `slot`: both draw the same numbers. `stride`: they count in different steps, and meet sooner or later. */
export type SlotClash = 'slot' | 'stride';

/** How the slots of two nodes disagree. A node without one may have no serial keys at all. */
export function clashOf(one: Slot | null, other: Slot | null): SlotClash | null {
  if (one === null || other === null) return null;
  if (one.of !== other.of) return 'stride';
  return one.slot === other.slot ? 'slot' : null;
}

/** The lowest slot that nobody has; null when all are taken. */
export function freeSlot(of: number, taken: readonly Slot[]): Slot | null {
  const used = new Set(taken.map(({ slot }) => slot));
  for (let slot = 1; slot <= of; slot++) if (!used.has(slot)) return { slot, of };
  return null;
}
