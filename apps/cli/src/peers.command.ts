import type { PeerView } from '@pgmesh/nest';
import { Command } from 'commander';
import { ask, nodeUrl } from './ask';
import { inColumns } from './table';

export function command(): Command {
  return new Command('peers')
    .option(...nodeUrl)
    .option('--json', 'Print what the node answered')
    .action(async ({ url, json }: { url: string; json?: true }) => {
      const peers = (await ask(url, '/p2p/peers')) as PeerView[];
      if (json) console.log(JSON.stringify(peers, null, 2));
      else if (peers.length === 0) console.log('No peers are known.');
      else console.log(inColumns([['PEER', 'URL', 'STATE', 'FOUND BY', 'LAST SYNC'], ...peers.map(lineOf)]));
    });
}

const lineOf = ({ peer_id, url, state, sources, last_sync }: PeerView): string[] => [
  peer_id,
  url,
  state ?? 'unknown',
  sources.join(', '),
  last_sync ?? 'never',
];
