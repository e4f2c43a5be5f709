import { parseArgs } from 'node:util';
import { Theatre } from './run';
import { scheduleOf } from './schedule';

/** `npm run schedules -- --seeds 200 [--from 0] [--keep]`: with `--keep` it goes on after a failure. */
const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '20' },
    from: { type: 'string', default: '0' },
    keep: { type: 'boolean', default: false },
  },
});
const [seeds, from] = [Number(values.seeds), Number(values.from)];
if (!Number.isSafeInteger(seeds) || seeds < 1 || !Number.isSafeInteger(from) || from < 0) {
  console.error('--seeds takes a number from 1, --from one from 0: npm run schedules -- --seeds 200 --from 0');
  process.exit(2);
}

void main();

async function main(): Promise<void> {
  await using theatre = await Theatre.open();
  const failed: number[] = [];
  for (let seed = from; seed < from + seeds; seed++) {
    const schedule = scheduleOf(seed);
    const { problems, acknowledged, seconds } = await theatre.play(schedule);
    const troubles = schedule.troubles.map(({ trouble }) => trouble.what).join(' ');
    console.log(
      `seed ${seed}: ${problems.length === 0 ? 'equal' : 'FAILED'}, ${acknowledged} writes, ${seconds} s (${schedule.topology}; ${troubles})`,
    );
    if (problems.length === 0) continue;
    failed.push(seed);
    console.error(`${JSON.stringify(schedule)}\n${problems.slice(0, 10).join('\n')}`);
    if (!values.keep) break;
  }
  console.log(failed.length === 0 ? `${seeds} schedules from ${from}, none failed.` : `Failed: ${failed.join(', ')}`);
  process.exitCode = failed.length === 0 ? 0 : 1;
}
