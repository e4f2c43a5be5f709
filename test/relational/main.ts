import { parseArgs } from 'node:util';
import { startServer } from '../support/database';
import { type Failure, shrink, World } from './run';
import { ddlOf } from './schema';

/** `npm run relational -- --seeds 500 [--from 0]` */
const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '100' },
    from: { type: 'string', default: '0' },
    keep: { type: 'boolean', default: false },
  },
});
const [seeds, from] = [Number(values.seeds), Number(values.from)];
if (!Number.isSafeInteger(seeds) || seeds < 1 || !Number.isSafeInteger(from) || from < 0) {
  console.error('--seeds takes a number from 1, --from one from 0: npm run relational -- --seeds 100 --from 0');
  process.exit(2);
}

void main();

async function main(): Promise<void> {
  await using server = await startServer();
  process.env.PGMESH_TEST_URL = server.url();
  await using world = await World.create();
  const began = performance.now();
  let failures = 0;
  for (let seed = from; seed < from + seeds; seed++) {
    const failure = await world.tryOut(seed);
    if (failure === null) continue;
    failures++;
    process.exitCode = 1;
    console.error(`Seed ${seed} fails: ${failure.problems.slice(0, 3).join('\n  ')}`);
    if (values.keep) continue;
    tell(await shrink(world, failure));
    break;
  }
  const seconds = (performance.now() - began) / 1000;
  if (failures === 0 || values.keep)
    console.log(`${seeds} histories from ${from}, ${failures} failed. ${(seeds / seconds).toFixed(2)} histories a second.`);
}

function tell({ schema, steps, problems }: Failure): void {
  console.error(`\nShrunk:\n  ${problems.join('\n  ')}\n\n${ddlOf(schema)}\n`);
  for (const { name, strategy } of schema.tables) console.error(`-- ${name}: ${strategy}`);
  console.error(`-- skew ${JSON.stringify(schema.skew)}, priority ${JSON.stringify(schema.priority)}`);
  for (const step of steps) {
    if (step.do === 'write') console.error(`${'abc'[step.node]}: ${step.statements.join(';\n   ')}`);
    else console.error(step.do === 'pull' ? `${'abc'[step.from]} -> ${'abc'[step.to]}` : `${'abc'[step.node]} settles`);
  }
}
