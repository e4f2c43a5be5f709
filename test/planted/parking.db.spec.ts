import { World } from '../relational/run';
import { type ParkingCase, parkingCases } from './parking-cases';
import { parkingFaults } from './parking-faults';
import { plantedEngine } from './planted-engine';

/** Milliseconds that a node with a fault is given to come to it by itself. */
const patience = 3000;

async function play(world: World, { schema, steps }: ParkingCase): Promise<string[]> {
  await world.makeTables(schema);
  return world.play(schema, steps);
}

describe('A fault that is planted into parking', () => {
  it.each(parkingFaults)('is found on databases: $name', async (fault) => {
    await using world = await World.create(plantedEngine(fault), patience);
    expect(await play(world, parkingCases[fault.shows])).not.toEqual([]);
  });
});

describe('The sound engine, loaded in the same way, passes', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.create(plantedEngine(null));
  });

  afterAll(() => world[Symbol.asyncDispose]());

  it.each(Object.entries<ParkingCase>(parkingCases))('%s', async (_name, one) => {
    expect(await play(world, one)).toEqual([]);
  });
});
