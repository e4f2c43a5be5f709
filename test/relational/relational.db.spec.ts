import { shrink, World } from './run';
import { tell } from './tell';

/** Seconds, about; `npm run relational -- --seeds 500` plays more. */
const time = 20;

describe('Relational histories on three databases', () => {
  it('traps 24, 25, 26: end with equal rows, equal metadata and equal parked rows, as the rule says, every constraint valid and every write accounted for', async () => {
    await using world = await World.create();
    const began = performance.now();
    for (let seed = 0; performance.now() - began < time * 1000; seed++) {
      const failure = await world.tryOut(seed);
      if (failure)
        throw new Error(`Seed ${seed}: ${failure.problems.join('\n')}\n${tell(await shrink(world, failure))}`);
    }
  }, 300_000);
});
