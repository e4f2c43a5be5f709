import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  chownSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Account } from './account';
import type { Binaries } from './binaries';
import { run } from './command';
import { EmbeddedFailure } from './failure';

export const SUPERUSER = 'postgres';

/** The superuser's password of a cluster lies beside its data directory, for the next start. */
const passwordFile = (dataDir: string) => `${dataDir}.password`;

export function clusterExists(dataDir: string): boolean {
  return existsSync(join(dataDir, 'PG_VERSION'));
}

/** The password of a cluster that is there. One that was given must agree: a new one would lock everybody else out. */
export function knownPassword(dataDir: string, given?: string): string {
  const file = passwordFile(dataDir);
  if (!existsSync(file)) {
    if (given !== undefined) return given;
    throw new EmbeddedFailure(
      'EMBEDDED_DATA_DIR',
      `The database in ${dataDir} is there, but the file with its password, ${file}, is not. ` +
        'Put the file back, or give the password.',
    );
  }
  const stored = readFileSync(file, 'utf8').trimEnd();
  if (given !== undefined && given !== stored) {
    throw new EmbeddedFailure(
      'EMBEDDED_DATA_DIR',
      `The database in ${dataDir} was made with another password than the one given. ` +
        `Give none (the one in ${file} is used), or change both with ALTER ROLE.`,
    );
  }
  return stored;
}

const partialPrefix = (dataDir: string) => `${dataDir}.partial-`;

/** Makes a cluster, in a directory at its side first, so that one killed in the middle is never taken for a whole one. */
export async function makeCluster(
  binaries: Binaries,
  account: Account,
  dataDir: string,
  password: string = randomBytes(18).toString('base64url'),
): Promise<string> {
  refuseForeign(dataDir);
  clearPartial(dataDir);
  const partial = mkdtempSync(partialPrefix(dataDir));
  const pwfile = passwordFile(dataDir);
  rmSync(pwfile, { force: true });
  writeFileSync(pwfile, `${password}\n`, { mode: 0o600 });
  if (account.uid !== undefined && account.gid !== undefined) {
    for (const path of [partial, pwfile]) chownSync(path, account.uid, account.gid);
  }
  await initdb(binaries, account, partial, pwfile);
  rmSync(dataDir, { recursive: true, force: true });
  renameSync(partial, dataDir);
  return password;
}

/** Removes what killed parents left half made; the initdb of the last one may be at it still, each in its own place. */
function clearPartial(dataDir: string): void {
  const prefix = basename(partialPrefix(dataDir));
  for (const name of readdirSync(dirname(dataDir))) {
    if (!name.startsWith(prefix)) continue;
    rmSync(join(dirname(dataDir), name), { recursive: true, force: true, maxRetries: 10 });
  }
}

async function initdb(binaries: Binaries, account: Account, target: string, pwfile: string): Promise<void> {
  const child = await run(
    account,
    binaries.initdb,
    [
      ...['-D', target, '-U', SUPERUSER, `--pwfile=${pwfile}`, '-A', 'scram-sha-256', '-E', 'UTF8'],
      // Only glibc has C.UTF-8 for certain; both sort by code point, whatever the machine.
      process.platform === 'linux' ? '--locale=C.UTF-8' : '--locale=C',
      ...['--no-sync', '--wal-segsize=1', '--no-instructions'],
    ],
    ['ignore', 'ignore', 'pipe'],
  );
  const said = child.stderr ? text(child.stderr) : Promise.resolve('');
  const [status] = (await once(child, 'exit')) as [number | null];
  if (status === 0) return;
  throw new EmbeddedFailure(
    'EMBEDDED_START_FAILED',
    `initdb could not make a database in ${target} (exit ${status}): ${(await said).trim()}`,
  );
}

function refuseForeign(dataDir: string): void {
  if (!existsSync(dataDir) || readdirSync(dataDir).length === 0) return;
  throw new EmbeddedFailure(
    'EMBEDDED_DATA_DIR',
    `${dataDir} is not empty and holds no PostgreSQL database. Choose an empty or a new directory.`,
  );
}
