import type { ComparedTable } from '@pgmesh/sync';
import { Command } from 'commander';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { nodeUrl, post } from './ask';

interface Options {
  readonly url: string;
  readonly peer?: string;
  readonly table?: string;
  readonly repair?: boolean;
  readonly json?: true;
}

/** A line of the node's answer. */
type Line =
  | ({ readonly type: 'table'; readonly peer: string } & ComparedTable)
  | { readonly type: 'peer'; readonly peer: string; readonly error: { readonly detail: string } | null }
  | { readonly type: 'progress'; readonly table: string; readonly rows: number }
  | { readonly type: 'error'; readonly detail: string };

/** Rows that differ, and are shown. */
const shown = 10;

/** Ends with 1 when rows differ, with 2 when something could not be compared. */
export function command(): Command {
  return new Command('verify')
    .option(...nodeUrl)
    .option('--peer <id or url>', 'Compare with this peer alone; with all that are live unless given')
    .option('--table <name>', 'Compare this table alone; all that are shared unless given')
    .option('--repair', 'Make the rows that differ the same, by an ordinary merge: nothing is lost')
    .option('--json', 'Print what the node answers, as JSON lines')
    .action(async ({ url, peer, table, repair = false, json }: Options) => {
      const answer = await post(url, '/p2p/verify', { peer, table, repair });
      let peers = 0;
      let differ = false;
      let incomplete = false;
      for await (const text of createInterface({ input: Readable.fromWeb(answer) })) {
        const line = JSON.parse(text) as Line;
        if (json) console.log(text);
        else tell(line);
        if (line.type === 'table') {
          differ ||= line.differ > line.repaired;
          incomplete ||= line.state !== 'compared' || line.unsettled > 0;
        } else if (line.type !== 'progress') {
          peers += 1;
          incomplete ||= line.type === 'error' || line.error !== null;
        }
      }
      if (peers === 0) console.error('There is no live peer to compare with. pgmesh peers tells how they are.');
      process.exitCode = differ ? 1 : incomplete || peers === 0 ? 2 : 0;
    });
}

function tell(line: Line): void {
  if (line.type === 'error') console.error(line.detail);
  else if (line.type === 'peer' && line.error) console.error(`${line.peer}: ${line.error.detail}`);
  else if (line.type === 'table') for (const text of linesOf(line)) console.log(text);
}

function linesOf({
  peer,
  table,
  state,
  detail,
  rows,
  differ,
  repaired,
  unsettled,
  keys,
}: Line & { type: 'table' }): string[] {
  const name = `${peer}  ${table}`;
  if (state !== 'compared') return [`${name}  not compared (${state}): ${detail}`];
  const parts = [
    `${rows} rows compared`,
    `${differ} differ`,
    ...(repaired > 0 ? [`${repaired} repaired`] : []),
    ...(unsettled > 0 ? [`${unsettled} are being written`] : []),
  ];
  const some = keys.slice(0, shown).map((row) => {
    const left = row.repaired ? 'repaired' : (row.detail ?? 'left as it is');
    return `  ${row.key.join(', ')}: ${row.how.replace('_', ' ')}, ${left}`;
  });
  return [
    `${name}  ${parts.join(', ')}`,
    ...some,
    ...(differ > some.length ? [`  and ${differ - some.length} more`] : []),
  ];
}
