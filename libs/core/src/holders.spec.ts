import fc from 'fast-check';
import { type Claimant, holders } from './holders';

const claim = fc.constantFrom('a', 'b', 'c', 'd', 'e');
const claimant: fc.Arbitrary<Claimant> = fc
  .tuple(fc.uniqueArray(claim, { maxLength: 3 }), fc.float({ min: 0, max: 1, noNaN: true }))
  .map(([claims, luck]) => ({ claims, taken: luck < 0.1 ? claims.slice(0, 1) : [] }));
const rows = fc.array(claimant, { maxLength: 12 });

/** All sets of places that satisfy the definition: a row is in if and only if none above it that is in shares a claim with it. */
function byDefinition(all: readonly Claimant[]): number[][] {
  const sets: number[][] = [];
  for (let bits = 0; bits < 2 ** all.length; bits++) {
    const isIn = (i: number) => (bits & (1 << i)) !== 0;
    const fits = all.every(({ claims, taken }, i) => {
      const above = all.some((other, j) => j < i && isIn(j) && other.claims.some((one) => claims.includes(one)));
      return isIn(i) === (taken.length === 0 && !above);
    });
    if (fits) sets.push(all.flatMap((_, i) => (isIn(i) ? [i] : [])));
  }
  return sets;
}

describe('The rows that hold their unique keys', () => {
  it('are the one set that the definition allows', () => {
    fc.assert(
      fc.property(rows, (all) => {
        const held = holders(all).flatMap((loss, i) => (loss === null ? [i] : []));
        expect(byDefinition(all)).toEqual([held]);
      }),
    );
  });

  it('are told which row they lost to, and by which claim', () => {
    fc.assert(
      fc.property(rows, (all) => {
        const losses = holders(all);
        losses.forEach((loss, i) => {
          if (loss === null) return;
          expect(all[i]!.claims).toContain(loss.claim);
          if (loss.holder === null) expect(all[i]!.taken).toContain(loss.claim);
          else {
            expect(loss.holder).toBeLessThan(i);
            expect(losses[loss.holder]).toBeNull();
            expect(all[loss.holder]!.claims).toContain(loss.claim);
          }
        });
      }),
    );
  });

  it('free a key for a third row when they lose another', () => {
    const [first, second, third] = [['mail'], ['mail', 'phone'], ['phone']].map((claims) => ({ claims, taken: [] }));
    expect(holders([first!, second!, third!])).toEqual([null, { claim: 'mail', holder: 0 }, null]);
  });
});
