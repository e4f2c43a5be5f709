import { readdir, readFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Kysely, type Migration, type MigrationProvider, Migrator, PostgresDialect, sql } from 'kysely';
import type { Pool } from 'pg';

/** The numbered files of `migrations/`, found by walking up from here: the same from sources and from the build. */
function migrationsDirectory(): string {
  for (let at = __dirname; dirname(at) !== at; at = dirname(at)) {
    const candidate = join(at, 'migrations');
    if (existsSync(join(candidate, '001_p2p.sql'))) return candidate;
  }
  throw new Error('The folder migrations/ with 001_p2p.sql is missing beside the program. Reinstall pgmesh.');
}

const provider: MigrationProvider = {
  async getMigrations() {
    const directory = migrationsDirectory();
    const files = (await readdir(directory)).filter((file) => file.endsWith('.sql')).sort();
    const migrations: Record<string, Migration> = {};
    for (const file of files) {
      const text = await readFile(join(directory, file), 'utf8');
      migrations[file.replace(/\.sql$/, '')] = { up: async (db) => void (await sql.raw(text).execute(db)) };
    }
    return migrations;
  },
};

/**
 * Brings the p2p schema up to date, under a lock, so that two processes may start at once. Returns the names of what ran.
 * @throws Error when a newer version has migrated this database, or a statement failed; nothing has changed then
 */
export async function migrate(pool: Pool): Promise<string[]> {
  // Kysely ends the pool it is given when destroyed; ours lives on, so the instance is just dropped.
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
  await refuseNewer(db, Object.keys(await provider.getMigrations()));
  const migrator = new Migrator({
    db,
    provider,
    migrationTableSchema: 'p2p',
    migrationTableName: 'migration',
    migrationLockTableName: 'migration_lock',
  });
  const { error, results } = await migrator.migrateToLatest();
  if (error) {
    const failed = results?.find((result) => result.status === 'Error')?.migrationName;
    const what = failed ? `Migration ${failed} failed` : 'The migration of the p2p schema failed';
    throw new Error(`${what}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  return (results ?? []).map((result) => result.migrationName);
}

async function refuseNewer(db: Kysely<unknown>, known: readonly string[]): Promise<void> {
  const { rows: present } = await sql<{ found: boolean }>`
    SELECT to_regclass('p2p.migration') IS NOT NULL AS found`.execute(db);
  if (!present[0]?.found) return;
  const { rows } = await sql<{ name: string }>`SELECT name FROM p2p.migration ORDER BY name`.execute(db);
  const unknown = rows.map((row) => row.name).filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new Error(
      `A newer pgmesh has migrated this database (${unknown.join(', ')}). Run that version, or a later one.`,
    );
  }
}
