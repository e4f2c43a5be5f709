import { createDatabase, type TestDatabase } from '../support/database';
import { engineFaults } from './engine-faults';
import { playEngine } from './engine-scenario';
import { plantedEngine } from './planted-engine';

/** The first find most faults by themselves; the others are there for the rest, and for when the code changes. */
const seeds = [11, 4, 1, 8, 3, 2, 7, 9, 12, 5, 6, 10];

describe('A fault that is planted into the engine', () => {
  let databases: TestDatabase[] = [];

  beforeAll(async () => {
    databases = await Promise.all([createDatabase(), createDatabase(), createDatabase()]);
  });

  afterAll(async () => {
    for (const database of databases) await database[Symbol.asyncDispose]();
  });

  it.each(engineFaults)('is found on databases: $name', async (fault) => {
    expect(await playEngine(plantedEngine(fault), seeds, databases)).not.toBeNull();
  });

  it('is what is found: the sound engine, loaded in the same way, passes', async () => {
    expect(await playEngine(plantedEngine(null), seeds, databases)).toBeNull();
  });
});
