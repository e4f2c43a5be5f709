import { Command } from 'commander';
import { WebSocket } from 'ws';
import { nodeUrl } from './ask';

/** Prints events as they come, one JSON object a line, until the node or the user ends it. */
export function command(): Command {
  return new Command('events')
    .option(...nodeUrl)
    .option('--types <types>', 'Only these, separated by commas')
    .option('--tables <names>', 'Only what concerns these tables')
    .action(async ({ url, types, tables }: { url: string; types?: string; tables?: string }) => {
      const address = new URL('/p2p/ws', url.replace(/^http/, 'ws'));
      if (types) address.searchParams.set('types', types);
      if (tables) address.searchParams.set('tables', tables);
      const secret = process.env.P2P_SECRET;
      const client = new WebSocket(address, secret ? { headers: { authorization: `Bearer ${secret}` } } : {});
      client.on('message', (data: Buffer) => console.log(data.toString()));
      await new Promise<void>((resolve, reject) => {
        client.once('error', (error: Error) =>
          reject(new Error(`No events from ${url}: ${error.message}. Is the node running?`)),
        );
        client.once('close', (_code, reason) => {
          if (reason.length > 0) console.error(reason.toString());
          resolve();
        });
      });
    });
}
