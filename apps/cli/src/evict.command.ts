import type { MemberView } from '@pgmesh/nest';
import { Command } from 'commander';
import { ask, nodeUrl } from './ask';

export function command(): Command {
  return new Command('evict')
    .argument('<node>', 'The id of a node that is gone, or that need not be waited for')
    .option(...nodeUrl)
    .action(async (node: string, { url }: { url: string }) => {
      const { node_id } = (await ask(url, `/p2p/members/${encodeURIComponent(node)}/evict`, 'POST')) as MemberView;
      console.log(
        `Nobody waits for ${node_id} any longer. When it is heard of again it is a member again, and copies what it may have missed.`,
      );
    });
}
