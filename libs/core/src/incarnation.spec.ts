import * as fc from 'fast-check';
import { drawIncarnation, incarnationsAtOnce, isLaterIncarnation } from './incarnation';

const times = fc.integer({ min: 0, max: Date.UTC(2400, 0) });
const drawn = fc.integer({ min: 0, max: incarnationsAtOnce - 1 });

describe('An incarnation', () => {
  it('is twelve digits, and sorts above those that were drawn before', () => {
    fc.assert(
      fc.property(times, drawn, times, drawn, (at, one, after, other) => {
        const [first, second] = [drawIncarnation(at, one), drawIncarnation(at + 10 + after, other)];
        expect(first).toMatch(/^[0-9a-z]{12}$/);
        expect(isLaterIncarnation(second, first)).toBe(true);
      }),
    );
  });

  it('sorts above the one that it takes the place of, even if the clock was set back', () => {
    fc.assert(
      fc.property(times, drawn, times, drawn, (at, one, now, other) => {
        const previous = drawIncarnation(at, one);
        expect(isLaterIncarnation(drawIncarnation(now, other, previous), previous)).toBe(true);
      }),
    );
  });
});
