import { Kysely, Migration, MigrationProvider, Migrator, PostgresDialect, sql } from 'kysely';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pool } from 'pg';

/** Beside `src` in the sources and in `dist` alike: the build copies the .sql files. */
const folder = join(__dirname, '../../migrations');

/** Brings the database up to date, under kysely's lock: two processes at once do it once. Gives the names of what ran. */
export async function migrate(pool: Pool): Promise<string[]> {
  const migrator = new Migrator({
    db: new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) }),
    provider: sqlFiles,
    migrationTableSchema: 'public',
    migrationTableName: 'product_review_migration',
    migrationLockTableName: 'product_review_migration_lock',
  });
  const { error, results = [] } = await migrator.migrateToLatest();
  if (error) {
    const failed = results.find(({ status }) => status === 'Error')?.migrationName;
    const what = failed ? `Migration ${failed} failed` : 'The migrations cannot be run';
    throw new Error(`${what}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  return results.map(({ migrationName }) => migrationName);
}

const sqlFiles: MigrationProvider = {
  async getMigrations() {
    const files = (await readdir(folder)).filter((file) => file.endsWith('.sql')).sort();
    return Object.fromEntries(
      await Promise.all(
        files.map(async (file): Promise<[string, Migration]> => {
          const text = await readFile(join(folder, file), 'utf8');
          return [file.slice(0, -'.sql'.length), { up: async (db) => void (await sql.raw(text).execute(db)) }];
        }),
      ),
    );
  },
};
