import * as core from '@pgmesh/core';
import { cases } from './cases';
import { scheduleOf } from './schedule';
import { shrink, tell } from './shrink';
import { simulate } from './simulator';

const seeds = 2000;

describe('A mesh of the core alone', () => {
  it('ends with equal rows and equal metadata, whatever happened to it', () => {
    for (let seed = 0; seed < seeds; seed++) {
      const schedule = scheduleOf(seed);
      const failure = simulate(core, schedule);
      if (failure === null) continue;
      const smallest = shrink(schedule, (candidate) => simulate(core, candidate) !== null);
      throw new Error(`Seed ${seed}: ${failure}\n${tell(smallest)}\n${JSON.stringify(smallest)}`);
    }
  });

  it.each(cases)('knows: $name', ({ schedule }) => {
    expect(simulate(core, schedule)).toBeNull();
  });

  it('fails readably: a history is cut down to what it takes', () => {
    const broken = { ...core, pastOfWrite: () => ({}) };
    const schedule = scheduleOf(16);
    expect(simulate(broken, schedule)).not.toBeNull();
    const smallest = shrink(schedule, (candidate) => simulate(broken, candidate) !== null);
    expect(smallest.steps.length).toBeLessThan(12);
    expect(tell(smallest).split('\n')).toHaveLength(smallest.steps.length + 1);
  });
});
