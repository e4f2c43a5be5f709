import { engineFaults } from './engine-faults';
import { playEngine } from './engine-scenario';
import { type Engine, plantedEngine } from './planted-engine';

/** The first find most faults by themselves; the others are there for the rest, and for when the code changes. */
const seeds = [11, 4, 1, 8, 3, 2, 7, 9, 12, 5, 6, 10];

async function find(engine: Engine): Promise<string | null> {
  for (const seed of seeds) {
    const finding = await playEngine(engine, seed, 1);
    if (finding !== null) return `seed ${seed}: ${finding}`;
  }
  return null;
}

describe('A fault that is planted into the engine', () => {
  it.each(engineFaults)('is found on databases: $name', async (fault) => {
    expect(await find(plantedEngine(fault))).not.toBeNull();
  });

  it('is what is found: the sound engine, loaded in the same way, passes', async () => {
    expect(await find(plantedEngine(null))).toBeNull();
  });
});
