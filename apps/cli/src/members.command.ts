import type { MemberView } from '@pgmesh/nest';
import { Command } from 'commander';
import { ask, nodeUrl } from './ask';
import { inColumns } from './table';

export function command(): Command {
  return new Command('members')
    .option(...nodeUrl)
    .option('--json', 'Print what the node answered')
    .action(async ({ url, json }: { url: string; json?: true }) => {
      const members = (await ask(url, '/p2p/members')) as MemberView[];
      if (json) console.log(JSON.stringify(members, null, 2));
      else
        console.log(
          inColumns([['NODE', 'STATE', 'LAST SEEN', 'LACKS', 'DELETIONS WAIT SINCE'], ...members.map(lineOf)]),
        );
    });
}

const lineOf = ({ node_id, state, last_seen, lag, holds_up_since, evicted_by }: MemberView): string[] => [
  node_id,
  evicted_by === null ? state : `${state} by ${evicted_by}`,
  last_seen,
  lag === null ? '-' : lag.rows === 0 && !lag.more ? 'nothing' : `${lag.rows}${lag.more ? ' or more' : ''} rows`,
  holds_up_since ?? '-',
];
