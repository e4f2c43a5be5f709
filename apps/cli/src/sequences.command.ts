import type { Slot } from '@pgmesh/core';
import { interleaveSequences, listSequences, type SequencesOptions, type SequenceView } from '@pgmesh/store';
import { Command } from 'commander';
import { ask } from './ask';
import { chooseSlot, type ToldOfSlots } from './choose-slot';
import { inColumns } from './table';

interface Options {
  readonly databaseUrl?: string;
  readonly tables?: string;
  readonly json?: boolean;
  readonly interleave?: boolean;
  readonly slot?: number;
  readonly of?: number;
  readonly url?: string;
}

export function command(): Command {
  return new Command('sequences')
    .option('--database-url <url>', 'The database [DATABASE_URL]', process.env.DATABASE_URL)
    .option(
      '--tables <list>',
      'Of these tables alone; of all that are shared unless given [P2P_TABLES]',
      process.env.P2P_TABLES,
    )
    .option('--json', 'Print JSON')
    .option('--interleave', 'Let each sequence draw the numbers of one slot only')
    .option('--slot <number>', "This node's number, 1 to --of", Number)
    .option(
      '--of <number>',
      'The greatest number of nodes that the mesh will ever have; the same on all of them',
      Number,
    )
    .option('--url <url>', 'A running node, to take the lowest slot that neither it nor its peers have')
    .action(async ({ databaseUrl, tables, json = false, ...asked }: Options) => {
      if (!databaseUrl) throw new Error('Which database? Give --database-url postgres://… or set DATABASE_URL.');
      const names = tables
        ?.split(',')
        .map((name) => name.trim())
        .filter((name) => name !== '');
      const options = { url: databaseUrl, ...(names && names.length > 0 ? { tables: names } : {}) };
      if (asked.interleave) await interleave(options, asked, json);
      else if (asked.slot !== undefined || asked.of !== undefined || asked.url !== undefined) {
        throw new Error('--slot, --of and --url are for --interleave: add it, or leave them out to look only.');
      } else await list(options, json);
    });
}

/** Ends with 1 when something collides, like a check. */
async function list(options: SequencesOptions, json: boolean): Promise<void> {
  const { node_id, slot, sequences } = await listSequences(options);
  if (json) console.log(JSON.stringify({ node_id, slot, sequences }, null, 2));
  else if (sequences.length === 0) console.log('No key of these tables is drawn from a sequence.');
  else {
    console.log(inColumns([['COLUMN', 'SEQUENCE', 'STEP', 'LAST', 'HIGHEST', 'STATE'], ...sequences.map(lineOf)]));
    for (const { table, problem, remedy } of sequences) if (problem) console.log(`\n${table}: ${problem}\n  ${remedy}`);
  }
  if (sequences.some(({ collides }) => collides)) process.exitCode = 1;
}

function lineOf({ table, column, sequence, increment, last_value, highest, collides }: SequenceView): string[] {
  const cells = [`${table}.${column}`, sequence, increment, last_value, highest, collides ? 'collides' : 'interleaved'];
  return cells.map((cell) => cell ?? '-');
}

/** Ends with 1 when something was left as it was and should not be. */
async function interleave(options: SequencesOptions, asked: Options, json: boolean): Promise<void> {
  const slot = await slotFor(options, asked);
  const outcomes = await interleaveSequences({ ...options, slot });
  if (json) console.log(JSON.stringify({ slot, sequences: outcomes }, null, 2));
  else {
    console.log(`Slot ${slot.slot} of ${slot.of}. No other node may have this slot, and all count to ${slot.of}.`);
    for (const { sequence, columns, outcome, next, detail } of outcomes) {
      const told = { interleaved: `next ${next}`, unchanged: 'as it should be', refused: detail, busy: detail }[
        outcome
      ];
      console.log(`${outcome.padEnd(11)}  ${sequence} (${columns.join(', ')}): ${told}`);
    }
  }
  if (outcomes.some(({ outcome }) => outcome === 'refused' || outcome === 'busy')) process.exitCode = 1;
}

/** What was asked for, else the slot that is noted, else one that is free. */
async function slotFor(options: SequencesOptions, { slot, of, url }: Options): Promise<Slot> {
  const { node_id, slot: noted } = await listSequences({ ...options, tables: [] });
  const stride = of ?? noted?.of;
  if (stride === undefined) {
    throw new Error(
      'How many? Give --of <the greatest number of nodes that the mesh will ever have>, the same on all.',
    );
  }
  if (slot !== undefined) return { slot, of: stride };
  if (url === undefined) {
    if (noted?.of === stride) return noted;
    throw new Error(
      `Which one? Give --slot <1 to ${stride}>, another on each node; or --url <a running node> to take one that is free.`,
    );
  }
  const { chosen, unmet } = chooseSlot(
    (await ask(url, '/p2p/status')) as ToldOfSlots,
    { node_id, slot: noted },
    stride,
  );
  for (const peer of unmet) {
    console.error(
      `The slot of ${peer} is not known: it has not been met, or has none. Should it turn out to be the same, both nodes will say so.`,
    );
  }
  return chosen;
}
