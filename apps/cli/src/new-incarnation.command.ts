import { renameWriter } from '@pgmesh/store';
import { Command } from 'commander';

export function command(): Command {
  return new Command('new-incarnation')
    .option('--database-url <url>', 'The database; its node must be stopped [DATABASE_URL]', process.env.DATABASE_URL)
    .requiredOption('--since <time>', 'When the copy was made, or a little before (ISO 8601)')
    .option('--node-id <id>', 'For a copy that goes on as a node of its own')
    .action(async ({ databaseUrl, since, nodeId }: { databaseUrl?: string; since: string; nodeId?: string }) => {
      if (!databaseUrl) throw new Error('Which database? Give --database-url postgres://… or set DATABASE_URL.');
      const time = new Date(since);
      if (Number.isNaN(time.getTime()))
        throw new Error(`--since ${since} is no time. Write it as 2026-01-31T12:00:00Z.`);
      const { before, after, versions } = await renameWriter({ url: databaseUrl, since: time, nodeId });
      console.log(`What was ${before} is ${after} now, with ${versions} of its versions. Start the node.`);
    });
}
