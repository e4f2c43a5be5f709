import fc from 'fast-check';
import { clashOf, firstDrawn, freeSlot, isDrawnBy, type Slot, slotProblem } from './slot';

const slots = fc
  .integer({ min: 1, max: 60 })
  .chain((of) => fc.integer({ min: 1, max: of }).map((slot): Slot => ({ slot, of })));
const numbers = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });

describe('A slot', () => {
  it('parts the numbers: each is drawn by one slot', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60 }), numbers, (of, value) => {
        const drawers = Array.from({ length: of }, (_, i) => ({ slot: i + 1, of })).filter((slot) =>
          isDrawnBy(slot, value),
        );
        expect(drawers).toHaveLength(1);
      }),
    );
  });

  it('draws the nearest of its numbers on either side of zero, in either direction', () => {
    fc.assert(
      fc.property(slots, numbers, fc.boolean(), (slot, from, ascending) => {
        const first = firstDrawn(slot, from, ascending);
        const way = ascending ? first - from : from - first;
        expect(isDrawnBy(slot, first)).toBe(true);
        expect(way >= 0n && way < BigInt(slot.of)).toBe(true);
      }),
    );
    expect(firstDrawn({ slot: 2, of: 3 }, -1n, true)).toBe(-1n);
    expect(firstDrawn({ slot: 2, of: 3 }, 0n, false)).toBe(-1n);
  });

  it('is refused where it is none', () => {
    expect(slotProblem({ slot: 3, of: 3 })).toBeNull();
    expect(slotProblem({ slot: 4, of: 3 })).toMatch(/from 1 to the number of nodes, which is 3/);
    for (const many of [0, 1.5, NaN, 10_001]) expect(slotProblem({ slot: 1, of: many })).toMatch(/1 to 10000/);
  });

  it('clashes with the same one, and with another stride', () => {
    const one = { slot: 1, of: 3 };
    expect(clashOf(one, { slot: 1, of: 3 })).toBe('slot');
    expect(clashOf(one, { slot: 2, of: 4 })).toBe('stride');
    expect([clashOf(one, { slot: 2, of: 3 }), clashOf(one, null), clashOf(null, null)]).toEqual([null, null, null]);
  });

  it('that is free is the lowest that nobody has', () => {
    expect(freeSlot(3, [{ slot: 1, of: 3 }])).toEqual({ slot: 2, of: 3 });
    expect(freeSlot(1, [{ slot: 1, of: 1 }])).toBeNull();
  });
});
