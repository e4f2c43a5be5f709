import * as core from '@pgmesh/core';
import type { Omissions } from './node';
import { scheduleOf } from './schedule';
import { simulate, type Tally } from './simulator';

const seeds = 600;

describe('A mesh that forgets what was deleted', () => {
  it('ends with the rows that nobody deleted, and with all of them', () => {
    const tally: Tally = { collected: 0, copies: 0, letGo: 0 };
    for (let seed = 0; seed < seeds; seed++) {
      const failure = simulate(core, scheduleOf(seed), {}, tally);
      if (failure !== null) throw new Error(`Seed ${seed}: ${failure}`);
    }
    expect(tally.collected).toBeGreaterThan(50);
    expect(tally.copies).toBeGreaterThan(200);
  });

  it('shows the last write everywhere where nodes let go of what has lost to it', () => {
    const tally: Tally = { collected: 0, copies: 0, letGo: 0 };
    for (let seed = 0; seed < seeds; seed++) {
      const failure = simulate(core, scheduleOf(seed, true), {}, tally);
      if (failure !== null) throw new Error(`Seed ${seed}: ${failure}`);
    }
    expect(tally.letGo).toBeGreaterThan(200);
  });

  // What one rule lets pass, another mostly holds: these are histories in which it shows.
  it.each<[Omissions, number]>([
    [{ mayRead: true, mayWrite: true }, 4439],
    [{ absorb: true }, 4878],
  ])('does not without any of its rules: %j', (without, seed) => {
    expect(simulate(core, scheduleOf(seed))).toBeNull();
    expect(simulate(core, scheduleOf(seed), without)).not.toBeNull();
  });
});
