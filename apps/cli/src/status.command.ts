import { Command } from 'commander';
import { ask, nodeUrl } from './ask';

export function command(): Command {
  return new Command('status').option(...nodeUrl).action(async ({ url }: { url: string }) => {
    console.log(JSON.stringify(await ask(url, '/p2p/status'), null, 2));
  });
}
