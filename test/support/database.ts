import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, escapeIdentifier, escapeLiteral, Pool, type QueryResultRow } from 'pg';
import { EmbeddedServer } from '../../libs/store/src/embedded';

/** What the name of each directory begins with that a test makes for a server; global-setup clears what was left. */
export const TEMPORARY = 'pgmesh-test-';

/** Where the run's server is: started by global-setup, or any other that the variable names. */
const URL_VARIABLE = 'PGMESH_TEST_URL';

/** Fast and careless: a test's data need not survive the machine. */
const SETTINGS: Readonly<Record<string, string>> = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  max_connections: '200',
  shared_buffers: '64MB',
  max_prepared_transactions: '0',
};

/** The address of a database on the run's server, as psql takes it. */
export function psqlUrl(database = 'postgres'): string {
  const base = process.env[URL_VARIABLE];
  if (!base) throw new Error(`${URL_VARIABLE} is not set: run tests with jest, whose global setup starts a server.`);
  return inDatabase(base, database);
}

function inDatabase(base: string, database: string): string {
  const url = new URL(base);
  url.pathname = encodeURIComponent(database);
  return url.href;
}

/** A database of a test's own, gone with the test: `await using database = await createDatabase()`. */
export class TestDatabase implements AsyncDisposable {
  readonly pool: Pool;

  constructor(
    readonly name: string,
    readonly url: string,
  ) {
    this.pool = new Pool({ connectionString: url, max: 10 });
    // A test may well end the server's sessions; the pool makes new ones.
    this.pool.on('error', () => undefined);
  }

  async sql<R extends QueryResultRow = Record<string, unknown>>(text: string, params?: unknown[]): Promise<R[]> {
    return (await this.pool.query<R>(text, params)).rows;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pool.end();
    await once(this.url, `DROP DATABASE IF EXISTS ${escapeIdentifier(this.name)} WITH (FORCE)`);
  }
}

/** Makes an empty database on the run's server, or on the one that `base` is an address of. */
export async function createDatabase(base: string = psqlUrl()): Promise<TestDatabase> {
  const name = `t_${randomBytes(6).toString('hex')}`;
  await once(base, `CREATE DATABASE ${escapeIdentifier(name)}`);
  return new TestDatabase(name, inDatabase(base, name));
}

/**
 * A database as a copied disk leaves it behind: all is the same, and pgmesh in it takes itself for the original. Whoever is connected
 * to the original is disconnected.
 */
export async function copyDatabase(original: TestDatabase): Promise<TestDatabase> {
  const database = await backupOf(original);
  await database.sql(
    `UPDATE p2p.node SET database_oid = d.oid FROM pg_database AS d WHERE d.datname = current_database()`,
  );
  return database;
}

/** A database as it is now, under another name: pgmesh in it notices that it was restored. Whoever is connected to the original is disconnected. */
export async function backupOf(original: TestDatabase): Promise<TestDatabase> {
  const copy = `${original.name}_copy`;
  await once(
    original.url,
    `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = ${escapeLiteral(original.name)} AND pid <> pg_backend_pid()`,
  );
  await once(original.url, `CREATE DATABASE ${escapeIdentifier(copy)} TEMPLATE ${escapeIdentifier(original.name)}`);
  return new TestDatabase(copy, inDatabase(original.url, copy));
}

/** One statement on a connection to the maintenance database. */
async function once(base: string, statement: string): Promise<void> {
  const client = new Client(inDatabase(base, 'postgres'));
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

/** A server of a test's own, in a directory that goes with it. */
export class TestServer implements AsyncDisposable {
  constructor(
    readonly server: EmbeddedServer,
    readonly directory: string,
  ) {}

  url(database = 'postgres'): string {
    return this.server.url(database);
  }

  createDatabase(): Promise<TestDatabase> {
    return createDatabase(this.url());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop();
    // Another run may be looking just now whether it was left behind.
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** `await using server = await startServer({ max_prepared_transactions: '10' })`, for settings that the run's lacks. */
export async function startServer(settings: Record<string, string> = {}): Promise<TestServer> {
  const directory = await mkdtemp(join(tmpdir(), TEMPORARY));
  try {
    const server = await EmbeddedServer.start({
      dataDir: join(directory, 'data'),
      settings: { ...SETTINGS, ...settings },
    });
    return new TestServer(server, directory);
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}
