import * as core from '@pgmesh/core';
import { parseArgs } from 'node:util';
import { scheduleOf } from './schedule';
import { shrink, tell } from './shrink';
import { simulate } from './simulator';

/** `npm run simulate -- --seeds 100000 [--from 0]` */
const { values } = parseArgs({
  options: { seeds: { type: 'string', default: '2000' }, from: { type: 'string', default: '0' } },
});
const [seeds, from] = [Number(values.seeds), Number(values.from)];
if (!Number.isSafeInteger(seeds) || seeds < 1 || !Number.isSafeInteger(from) || from < 0) {
  console.error('--seeds takes a number from 1, --from one from 0: npm run simulate -- --seeds 2000 --from 0');
  process.exit(2);
}

const began = performance.now();
for (let seed = from; seed < from + seeds; seed++) {
  const schedule = scheduleOf(seed);
  const failure = simulate(core, schedule);
  if (failure === null) continue;
  const smallest = shrink(schedule, (candidate) => simulate(core, candidate) !== null);
  console.error(`Seed ${seed} fails: ${failure}\nShrunk: ${simulate(core, smallest)}\n${tell(smallest)}`);
  console.error(`As a case for test/simulation/cases.ts:\n${JSON.stringify(smallest)}`);
  process.exit(1);
}
const seconds = (performance.now() - began) / 1000;
console.log(`${seeds} seeds from ${from}: all converge. ${Math.round(seeds / seconds)} seeds a second.`);
