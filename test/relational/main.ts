import { parseArgs } from 'node:util';
import { startServer } from '../support/database';
import { shrink, World } from './run';
import { simulate } from './simulated';
import { tell } from './tell';

/** `npm run relational -- --seeds 500 [--from 0] [--keep] --simulated 50000`: on real databases, and without. With `--keep` it goes on after a failure. */
const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '100' },
    from: { type: 'string', default: '0' },
    simulated: { type: 'string', default: '0' },
    keep: { type: 'boolean', default: false },
  },
});
const [seeds, from, simulated] = [values.seeds, values.from, values.simulated].map(Number) as [number, number, number];
if (![seeds, from, simulated].every((number) => Number.isSafeInteger(number) && number >= 0)) {
  console.error(
    '--seeds, --simulated and --from take numbers: npm run relational -- --seeds 100 --simulated 50000 --from 0',
  );
  process.exit(2);
}

void main();

async function main(): Promise<void> {
  if (simulated > 0) inTheMind();
  if (seeds > 0) await onDatabases();
}

function inTheMind(): void {
  const began = performance.now();
  for (let seed = from; seed < from + simulated; seed++) {
    const fault = simulate(seed);
    if (fault === null) continue;
    process.exitCode = 1;
    console.error(`Simulated seed ${seed} fails: ${fault}`);
    return;
  }
  const seconds = (performance.now() - began) / 1000;
  console.log(
    `${simulated} simulated histories from ${from}, none failed. ${Math.round(simulated / seconds)} a second.`,
  );
}

async function onDatabases(): Promise<void> {
  await using server = await startServer();
  process.env.PGMESH_TEST_URL = server.url();
  await using world = await World.create();
  const began = performance.now();
  let failures = 0;
  for (let seed = from; seed < from + seeds; seed++) {
    const failure = await world.tryOut(seed);
    if ((seed - from + 1) % 50 === 0)
      console.log(`${seed - from + 1} histories, ${Math.round((performance.now() - began) / 1000)} s`);
    if (failure === null) continue;
    failures++;
    process.exitCode = 1;
    console.error(`Seed ${seed} fails: ${failure.problems.slice(0, 3).join('\n  ')}`);
    if (values.keep) continue;
    console.error(`Shrunk:\n${tell(await shrink(world, failure))}`);
    break;
  }
  const seconds = (performance.now() - began) / 1000;
  if (failures === 0 || values.keep)
    console.log(
      `${seeds} histories from ${from}, ${failures} failed. ${(seeds / seconds).toFixed(2)} histories a second.`,
    );
}
