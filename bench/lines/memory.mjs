// @ts-check
import { existsSync } from 'node:fs';
import { pgmesh } from '../system-pgmesh.mjs';
import { Pair } from './pair.mjs';

/** The most memory that each of two nodes ever held, after one has copied a large table from the other. @param {import('../main.mjs').Run} run */
export async function measureMemory(run) {
  if (!existsSync('/proc/self/status')) throw new Error('peak memory is read from /proc: this line needs Linux');
  const { memoryRows } = run.options;
  const pair = await Pair.start(run, pgmesh, memoryRows);
  run.say(`memory: first copy of ${memoryRows.toLocaleString('en')} rows`);
  await pair.firstCopy(memoryRows);
  const peak = pair.link.peakMemory?.();
  if (!peak) throw new Error('the system under measure does not tell its memory');
  run.record('memory-source', 'pgmesh', peak.source);
  run.record('memory-receiver', 'pgmesh', peak.receiver);
}
