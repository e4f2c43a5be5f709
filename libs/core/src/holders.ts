/** A row that wants its unique keys: what it claims, and what it cannot have because a row above all of these has it. */
export interface Claimant {
  /** Two rows with a claim in common cannot stand beside each other. */
  readonly claims: readonly string[];
  /** Those of `claims` that a row outside of the list holds for good. */
  readonly taken: readonly string[];
}

/** A claim that a row lost, and the place in the list of the row that it lost it to; null for a row outside of the list. */
export interface Loss {
  readonly claim: string;
  readonly holder: number | null;
}

/**
 * Which rows hold their unique keys: from the highest to the lowest, each that has no claim in common with one that holds. A row that
 * loses one claim keeps none, so that what it would have had is free for the rows below it. In the order given: null for a row
 * that holds.
 *
 * @param rows the highest first
 */
export function holders(rows: readonly Claimant[]): (Loss | null)[] {
  const held = new Map<string, number>();
  return rows.map(({ claims, taken }, place) => {
    if (taken.length > 0) return { claim: taken[0]!, holder: null };
    const lost = claims.find((claim) => held.has(claim));
    if (lost !== undefined) return { claim: lost, holder: held.get(lost)! };
    for (const claim of claims) held.set(claim, place);
    return null;
  });
}
