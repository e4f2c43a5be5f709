import { detach, type Hidden } from '@pgmesh/store';
import { Command } from 'commander';

export function command(): Command {
  return new Command('detach')
    .option('--database-url <url>', 'The database [DATABASE_URL]', process.env.DATABASE_URL)
    .action(async ({ databaseUrl }: { databaseUrl?: string }) => {
      if (!databaseUrl) throw new Error('Which database? Give --database-url postgres://… or set DATABASE_URL.');
      const removed = await detach(databaseUrl, (hidden) => {
        for (const line of hidden.map(losing)) console.error(line);
      });
      if (removed.length === 0) console.log('pgmesh was not in this database.');
      else console.log(`Removed:\n  ${removed.join('\n  ')}\nThe tables are as they were.`);
    });
}

function losing({ table, parked, versions }: Hidden): string {
  const lost = [
    ...(parked > 0 ? [`${parked} parked row(s)`] : []),
    ...(versions > 0 ? [`${versions} version(s) of rows in conflict`] : []),
  ];
  return `Warning: ${table} does not show ${lost.join(' and ')}: this database loses them. Other nodes keep what was exchanged.`;
}
