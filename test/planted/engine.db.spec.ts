import { engineFaults } from './engine-faults';
import { playEngine } from './engine-scenario';
import { plantedEngine } from './planted-engine';

/** Histories that are played for a fault until one finds it. */
const seeds = 6;
const rounds = 3;

async function found(engine: ReturnType<typeof plantedEngine>): Promise<string | null> {
  for (let seed = 1; seed <= seeds; seed++) {
    const finding = await playEngine(engine, seed, rounds);
    if (finding !== null) return `seed ${seed}: ${finding}`;
  }
  return null;
}

describe('A fault that is planted into the engine', () => {
  it.each(engineFaults)('is found on databases: $name', async (fault) => {
    const finding = await found(plantedEngine(fault));
    if (process.env.SHOW) console.log(fault.name, '\n', finding?.slice(0, 400));
    expect(finding).not.toBeNull();
  });

  it('is what is found: the sound engine, loaded in the same way, passes', async () => {
    expect(await found(plantedEngine(null))).toBeNull();
  });
});
