import * as core from '@pgmesh/core';
import { simulate } from './simulated';

const seeds = 2000;

describe('Relational histories on nodes without a database', () => {
  it('traps 24, 25, 26: end with the same rows standing and the same parked, as the rule says, at every step', () => {
    for (let seed = 0; seed < seeds; seed++) {
      const fault = simulate(seed);
      if (fault !== null) throw new Error(`Seed ${seed}: ${fault}`);
    }
  });

  it.each([
    ['rows keep their claims whoever else has them', { holders: (rows: readonly unknown[]) => rows.map(() => null) }],
    [
      'the older row holds',
      { holders: (rows: readonly core.Claimant[]) => core.holders([...rows].reverse()).reverse() },
    ],
    [
      'of two versions one is thrown away',
      { mergeStates: (a: core.RowState, b: core.RowState) => core.mergeStates(a, b).slice(-1) },
    ],
  ])('notice when %s', (_fault, part) => {
    const faults = Array.from({ length: 200 }, (_, seed) => simulate(seed, { ...core, ...part }));
    expect(faults.filter((fault) => fault !== null).length).toBeGreaterThan(5);
  });
});
