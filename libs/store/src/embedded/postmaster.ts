import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import type { Account } from './account';
import type { Binaries } from './binaries';
import { run } from './command';
import { EmbeddedFailure, errorCode } from './failure';
import type { ServerLog } from './log';
import { portTaken } from './port';
import { isRunning, processOf, signal, waitUntil, type RunningProcess } from './process';

/** Crash recovery comes before the first connection and may have much to read. */
const START_MS = 120_000;
const STOP_MS = 30_000;
const READY = 'ready to accept connections';
const ADDRESS_TAKEN = /could not bind .*Address already in use/;

/** The first process of a running server, as its lock file `postmaster.pid` names it. */
export interface Postmaster extends RunningProcess {
  port: number;
}

/** The lock file's lines are the process id, the data directory, the start time and the port. */
export function readPostmaster(dataDir: string): Postmaster | undefined {
  let lines: string[];
  try {
    lines = readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  const pid = Number(lines[0]);
  const samePlace = existsSync(lines[1] ?? '') && realpathSync(lines[1] ?? '') === realpathSync(dataDir);
  return pid > 0 && samePlace ? { ...processOf(pid), port: Number(lines[3]) } : undefined;
}

/**
 * Whether the process with that id is this directory's server: every server works in its data directory, and a number
 * that was given to somebody else since does not. Undefined where the system does not tell.
 */
export function worksIn(dataDir: string, pid: number): boolean | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(dataDir);
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(errorCode(error))) return false;
    if (['EACCES', 'EPERM'].includes(errorCode(error))) return undefined;
    throw error;
  }
}

export interface ServerArguments {
  dataDir: string;
  host: string;
  port: number;
  settings: Readonly<Record<string, string>>;
}

/** Quiet but for what somebody should know, and without the text of statements: they hold the users' data. */
const DEFAULTS: Readonly<Record<string, string>> = {
  log_min_messages: 'warning',
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
  log_checkpoints: 'off',
  // One-megabyte segments bring initdb's ceiling down to 64 MB: a big copy would checkpoint all the time.
  max_wal_size: '1GB',
};

export function serverArguments({ dataDir, host, port, settings }: ServerArguments): string[] {
  // What keeps the server private comes last: the last value of a setting is the one that holds.
  const all = {
    ...DEFAULTS,
    ...settings,
    listen_addresses: host,
    unix_socket_directories: '',
    logging_collector: 'off',
  };
  return [
    '-D',
    dataDir,
    '-p',
    String(port),
    ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ];
}

/** Whether the running server was started with these arguments, by the command line that it wrote down. */
export function runsWith(dataDir: string, args: readonly string[]): boolean {
  const file = join(dataDir, 'postmaster.opts');
  const written = existsSync(file) ? readFileSync(file, 'utf8').trimEnd() : '';
  return written.endsWith(args.map((argument) => ` "${argument}"`).join(''));
}

/** Starts a server and waits until it takes connections. */
export async function launch(
  binaries: Binaries,
  account: Account,
  args: ServerArguments,
  log: ServerLog,
): Promise<Postmaster> {
  const output = log.open();
  const child = await run(account, binaries.postgres, serverArguments(args), ['ignore', 'ignore', output]).finally(() =>
    closeSync(output),
  );
  const ended = () => child.exitCode !== null || child.signalCode !== null;
  await waitUntil(() => ended() || log.text().includes(READY), START_MS, 10);
  const said = log.text();
  if (said.includes(READY) && !ended() && child.pid !== undefined) {
    child.unref();
    return { ...processOf(child.pid), port: args.port };
  }
  if (!ended()) child.kill('SIGKILL');
  if (ADDRESS_TAKEN.test(said)) throw portTaken(args.host, args.port);
  throw new EmbeddedFailure(
    'EMBEDDED_START_FAILED',
    `PostgreSQL did not start in ${args.dataDir}. It said (${log.path}):\n${said.slice(-2000).trim()}`,
  );
}

/**
 * Stops a server: SIGINT ends its sessions and writes everything down ("fast"); if that hangs, SIGQUIT ends it as a crash
 * does, which loses nothing that was committed.
 */
export async function halt(binaries: Binaries, dataDir: string, postmaster: RunningProcess): Promise<void> {
  const gone = () => !isRunning(postmaster);
  if (process.platform === 'win32') {
    // Windows has no signals; PostgreSQL's own tool speaks to the server through a pipe.
    spawnSync(binaries.pgCtl, ['stop', '-D', dataDir, '-m', 'fast', '-W'], { stdio: 'ignore', windowsHide: true });
    if (await waitUntil(gone, STOP_MS)) return;
  } else {
    for (const name of ['SIGINT', 'SIGQUIT'] as const) {
      if (!signal(postmaster, name) || (await waitUntil(gone, STOP_MS))) return;
    }
  }
  throw new EmbeddedFailure(
    'EMBEDDED_STOP_FAILED',
    `The PostgreSQL server in ${dataDir}, process ${postmaster.pid}, does not stop.`,
  );
}
