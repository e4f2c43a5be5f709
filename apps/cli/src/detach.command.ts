import { detach } from '@pgmesh/store';
import { Command } from 'commander';

export function command(): Command {
  return new Command('detach')
    .option('--database-url <url>', 'The database [DATABASE_URL]', process.env.DATABASE_URL)
    .action(async ({ databaseUrl }: { databaseUrl?: string }) => {
      if (!databaseUrl) throw new Error('Which database? Give --database-url postgres://… or set DATABASE_URL.');
      const tables = await detach(databaseUrl);
      console.log(
        tables.length === 0
          ? 'No table was tracked; the schema p2p is gone.'
          : `Detached: ${tables.join(', ')}. The tables are as they were; the schema p2p is gone.`,
      );
    });
}
