import { cases } from '../simulation/cases';
import type { Core } from '../simulation/history';
import { scheduleOf } from '../simulation/schedule';
import { simulate } from '../simulation/simulator';
import { faults } from './faults';
import { plantedCore } from './planted-core';

const seeds = 2000;

function isFound(core: Core): boolean {
  if (cases.some(({ schedule }) => simulate(core, schedule) !== null)) return true;
  for (let seed = 0; seed < seeds; seed++) if (simulate(core, scheduleOf(seed)) !== null) return true;
  return false;
}

describe('A fault that is planted into the core', () => {
  it.each(faults)('is found by the simulator: $name', (fault) => {
    expect(isFound(plantedCore(fault))).toBe(true);
  });

  it('is what is found: the sound core, loaded in the same way, passes', () => {
    const core = plantedCore(null);
    expect(cases.every(({ schedule }) => simulate(core, schedule) === null)).toBe(true);
    for (let seed = 0; seed < 200; seed++) expect(simulate(core, scheduleOf(seed))).toBeNull();
  });
});
