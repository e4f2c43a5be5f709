import fc from 'fast-check';
import { jittered, retryDelay } from './backoff';

const draw = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe('retryDelay', () => {
  it('is never longer than the longest wait, however often it failed', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 10_000 }),
        fc.integer({ min: 1, max: 60_000 }),
        draw,
        (failures, longest, u) => {
          const delay = retryDelay(failures, { first: 200, longest }, () => u);
          expect(delay).toBeGreaterThan(0);
          expect(delay).toBeLessThanOrEqual(longest);
        },
      ),
    );
  });

  it('is drawn from a range that doubles with each failure', () => {
    const almostOne = (): number => 0.999;
    const bounds = [1, 2, 3, 4].map((failures) =>
      Math.round(retryDelay(failures, { first: 200, longest: 60_000 }, almostOne)),
    );
    expect(bounds).toEqual([200, 400, 799, 1598]);
  });
});

it('jittered stays within a fifth of the interval', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100_000 }), draw, (interval, u) => {
      const rest = jittered(interval, () => u);
      expect(Math.abs(rest - interval)).toBeLessThanOrEqual(interval * 0.2 + 1e-6);
    }),
  );
});
