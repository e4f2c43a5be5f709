import * as core from '@pgmesh/core';
import { parseArgs } from 'node:util';
import { shrink } from '../shrink';
import { scheduleOf } from './schedule';
import { simulate, type Tally } from './simulator';

/** `npm run simulate:forgetting -- --seeds 100000 [--from 0] [--lets-go]` */
const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '2000' },
    from: { type: 'string', default: '0' },
    without: { type: 'string' },
    'lets-go': { type: 'boolean', default: false },
    all: { type: 'boolean' },
  },
});
const [seeds, from] = [Number(values.seeds), Number(values.from)];
const without = Object.fromEntries(
  (values.without ?? '')
    .split(',')
    .filter(Boolean)
    .map((name) => [name, true]),
);
const tally: Tally = { collected: 0, copies: 0, letGo: 0 };
const began = performance.now();
let failed = 0;
for (let seed = from; seed < from + seeds; seed++) {
  const schedule = scheduleOf(seed, values['lets-go']);
  const failure = simulate(core, schedule, without, tally);
  if (failure === null) continue;
  failed++;
  if (values.all) {
    console.log(seed, failure.slice(0, 150));
    continue;
  }
  const smallest = shrink(
    schedule as never,
    (candidate) => simulate(core, candidate as never, without) !== null,
  ) as unknown as typeof schedule;
  console.error(`Seed ${seed} fails: ${failure}\nShrunk: ${simulate(core, smallest, without)}`);
  console.error(`${smallest.nodes} nodes, asleep ${smallest.asleep}, links ${JSON.stringify(smallest.links)}`);
  for (const [i, step] of smallest.steps.entries()) console.error(`  ${i} ${JSON.stringify(step)}`);
  process.exit(1);
}
const seconds = (performance.now() - began) / 1000;
console.log(`${seeds} seeds from ${from}: ${failed} failed. ${Math.round(seeds / seconds)} seeds a second.`, tally);
