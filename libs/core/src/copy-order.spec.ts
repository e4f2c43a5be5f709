import fc from 'fast-check';
import { copiedFirst } from './copy-order';

const names = ['a', 'b', 'c', 'd', 'e', 'f'];
const table = fc.constantFrom(...names);
const references = fc.array(fc.tuple(table, table), { maxLength: 12 });

describe('The tables to copy first', () => {
  it('come to an end with every table copied once, each after all that it refers to and that do not refer to it again', () => {
    fc.assert(
      fc.property(fc.subarray(names, { minLength: 1 }), references, (tables, all) => {
        const copied: string[][] = [];
        for (let left = [...tables]; left.length > 0;) {
          const tier = copiedFirst(left, all);
          expect(tier.length).toBeGreaterThan(0);
          copied.push(tier);
          left = left.filter((one) => !tier.includes(one));
        }
        expect(copied.flat().sort()).toEqual([...tables].sort());
        const tierOf = (one: string) => copied.findIndex((tier) => tier.includes(one));
        for (const [child, parent] of all) {
          if (tables.includes(child) && tables.includes(parent))
            expect(tierOf(parent)).toBeLessThanOrEqual(tierOf(child));
        }
      }),
    );
  });

  it('are parents before children, and a circle at once', () => {
    const all = [
      ['orders', 'customers'],
      ['lines', 'orders'],
      ['customers', 'regions'],
      ['regions', 'customers'],
      ['regions', 'regions'],
    ] as const;
    expect(copiedFirst(['customers', 'lines', 'orders', 'regions'], all)).toEqual(['customers', 'regions']);
    expect(copiedFirst(['lines', 'orders'], all)).toEqual(['orders']);
    expect(copiedFirst(['a', 'b'], all)).toEqual(['a', 'b']);
  });
});
