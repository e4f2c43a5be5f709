import { realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { EmbeddedFailure, errorCode } from './failure';
import { readPostmaster, worksIn, type Postmaster } from './postmaster';
import { isRunning } from './process';

const ANSWER_MS = 30_000;
const CANNOT_CONNECT_NOW = '57P03';

/** A server that runs over a directory although no living process claims it. */
export interface LeftBehind extends Postmaster {
  /** Whether it takes connections; one that does not can only be stopped. */
  answers: boolean;
}

/** Finds it by its lock file, and makes certain that it is the one: `urlAt` gives its address on a port. */
export async function findLeftBehind(
  dataDir: string,
  urlAt: (port: number) => string,
): Promise<LeftBehind | undefined> {
  const found = readPostmaster(dataDir);
  // Of a dead one PostgreSQL removes the lock file itself.
  if (!found || !isRunning(found)) return undefined;
  const lockFile = join(dataDir, 'postmaster.pid');
  const works = worksIn(dataDir, found.pid);
  if (works === false) {
    // The number belongs to another program by now, which PostgreSQL would take for a server and refuse to start.
    rmSync(lockFile, { force: true });
    return undefined;
  }
  const answers = await answersFor(dataDir, urlAt(found.port));
  if (!answers && works === undefined) {
    throw new EmbeddedFailure(
      'EMBEDDED_DATA_DIR',
      `${lockFile} names process ${found.pid}, which runs but does not answer as this database. ` +
        'If it is no PostgreSQL server, delete the file; if it is one, stop it.',
    );
  }
  return { ...found, answers };
}

/** Whether the server at that address is the one over this directory, and lets us in. */
async function answersFor(dataDir: string, url: string): Promise<boolean> {
  const end = performance.now() + ANSWER_MS;
  for (;;) {
    const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000, query_timeout: 5_000 });
    try {
      await client.connect();
      const { rows } = await client.query<{ data_directory: string }>('SHOW data_directory');
      return realpathSync(rows[0]?.data_directory ?? '/') === realpathSync(dataDir);
    } catch (error) {
      // It may still be starting. Any other refusal means that it is of no use to us, for whatever reason.
      if (errorCode(error) !== CANNOT_CONNECT_NOW || performance.now() > end) return false;
    } finally {
      await client.end();
    }
    await sleep(50);
  }
}
