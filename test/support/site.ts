import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, chownSync, readdirSync, readFileSync } from 'node:fs';
import { appendFile, cp, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Pool } from 'pg';
import { EmbeddedServer } from '../../libs/store/src/embedded';
import { startServer, type TestServer } from './database';

/** Another build of the program, where the one in dist/ is not to be used. */
const program = process.env.PGMESH_PROGRAM ?? join(__dirname, '../../bin/pgmesh.js');
/** A killed server must have lost nothing that it acknowledged; the disk itself is not tried. */
const settings = {
  fsync: 'off',
  synchronous_commit: 'on',
  full_page_writes: 'off',
  max_connections: '60',
  shared_buffers: '64MB',
};
const database = 'site';
const deadline = 120_000;

export interface NodeStatus {
  readonly sync_running: boolean;
  readonly conflicts_resolved: number;
  readonly peers: readonly {
    readonly node_id: string | null;
    readonly state: string;
    readonly lag_ms: number;
    readonly copying: object | null;
    readonly last_error: object | null;
  }[];
}

/** A file-level copy of a server's data, taken while it was written to. */
export interface Backup {
  readonly directory: string;
  readonly takenAt: Date;
}

/** A database server, and a node of pgmesh beside it as a process of its own: each can be killed, paused and started again. */
export class Site<Id extends string = string> implements AsyncDisposable {
  pool: Pool;
  private node: ChildProcess | null = null;
  private output = '';
  private paused: number[] = [];

  private constructor(
    readonly id: Id,
    private readonly made: TestServer,
    private server: EmbeddedServer,
    readonly port: number,
  ) {
    this.pool = this.openPool();
  }

  static async start<Id extends string>(id: Id, schema: string): Promise<Site<Id>> {
    const made = await startServer(settings);
    await made.server.createDatabase(database);
    const site = new Site(id, made, made.server, await freePort());
    await site.pool.query(schema);
    return site;
  }

  get databaseUrl(): string {
    return this.server.url(database);
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async connect(): Promise<Client> {
    const client = new Client({ connectionString: this.databaseUrl });
    // The server is going to be killed; what is asked of the connection then fails, and is dealt with there.
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  /** Another database in place of the one that was there. The node must be stopped. */
  async renew(schema: string): Promise<void> {
    await this.pool.end();
    const client = new Client(this.server.url('postgres'));
    await client.connect();
    try {
      await client.query(`DROP DATABASE ${database} WITH (FORCE)`);
      await client.query(`CREATE DATABASE ${database}`);
    } finally {
      await client.end();
    }
    this.pool = this.openPool();
    this.output = '';
    await this.pool.query(schema);
  }

  /** @param peers the addresses that it dials */
  async startNode(peers: readonly string[], more: readonly string[] = []): Promise<void> {
    const end = Date.now() + deadline;
    for (let attempts = 1; ; attempts++) {
      const node = this.spawn([...this.nodeArguments(peers), ...more]);
      this.node = node;
      while (isRunning(node)) {
        if (await this.ready()) return;
        if (Date.now() > end) throw new Error(`Node ${this.id} was not ready in time:\n${this.output}`);
        await sleep(50);
      }
      // A build that runs at this very moment takes files away from under the program.
      if (attempts === 3)
        throw new Error(`Node ${this.id} ended with ${node.exitCode ?? node.signalCode}:\n${this.output}`);
      await sleep(2000);
    }
  }

  /** `kill -9`: no goodbye, nothing tidied up. */
  async killNode(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const { node } = this;
    if (!node || !isRunning(node)) return;
    const ended = new Promise((resolve) => node.once('exit', resolve));
    node.kill(signal);
    await ended;
  }

  /** The node stands still, its connections stay open. */
  pauseNode(): void {
    this.node?.kill('SIGSTOP');
  }

  resumeNode(): void {
    this.node?.kill('SIGCONT');
  }

  /** The server and all its processes stand still. */
  pauseServer(): void {
    const { pid } = this.server;
    this.paused = [pid, ...childrenOf(pid)];
    for (const one of this.paused) send(one, 'SIGSTOP');
  }

  resumeServer(): void {
    for (const one of this.paused.splice(0).reverse()) send(one, 'SIGCONT');
  }

  /** An immediate shutdown, as `pg_ctl stop -m immediate` asks for it, and recovery from the log. */
  async crashServer(pause: number): Promise<void> {
    await this.endServer();
    await sleep(pause);
    await this.startServer();
  }

  /** A copy of the server's files, by the steps that PostgreSQL names for it. */
  async backUp(): Promise<Backup> {
    const { dataDir } = this.server;
    const directory = `${this.made.directory}/backup`;
    await rm(directory, { recursive: true, force: true });
    const client = await this.connect();
    try {
      const takenAt = new Date();
      await client.query(`SELECT pg_backup_start('site', true)`);
      const log = join(dataDir, 'pg_wal');
      const unwanted = new Set([log, join(dataDir, 'postmaster.pid')]);
      await copyTree(dataDir, directory, (path) => !unwanted.has(path));
      const { rows } = await client.query<{ label: string }>('SELECT labelfile AS label FROM pg_backup_stop(false)');
      await writeFile(join(directory, 'backup_label'), rows[0]!.label);
      await copyTree(log, join(directory, 'pg_wal'));
      return { directory, takenAt };
    } finally {
      await client.end();
    }
  }

  /**
   * The server as it was. With `recovery` PostgreSQL is told so, and goes on on a timeline of its own; without, nobody tells anybody but
   * `pgmesh new-incarnation`. The node must be stopped.
   */
  async restore({ directory, takenAt }: Backup, recovery: boolean): Promise<void> {
    const { dataDir } = this.server;
    await this.endServer();
    const { uid, gid } = await stat(dataDir);
    await rm(dataDir, { recursive: true });
    await copyTree(directory, dataDir);
    if (recovery) {
      await writeFile(join(dataDir, 'recovery.signal'), '');
      await appendFile(join(dataDir, 'postgresql.auto.conf'), `restore_command = 'false'\n`);
    }
    giveTo(dataDir, uid, gid);
    await this.startServer();
    if (recovery) return this.promoted();
    const since = new Date(takenAt.getTime() - 1000).toISOString();
    await this.run(['new-incarnation', '--database-url', this.databaseUrl, '--since', since]);
  }

  /** A command of pgmesh, to its end. */
  async run(args: readonly string[]): Promise<void> {
    const child = this.spawn(args);
    await new Promise((resolve) => child.once('exit', resolve));
    if (child.exitCode !== 0) throw new Error(`pgmesh ${args[0]} on ${this.id}:\n${this.output}`);
  }

  async status(): Promise<NodeStatus> {
    return (await (await fetch(`${this.url}/p2p/status`)).json()) as NodeStatus;
  }

  /** Its latest exchanges, a line each. */
  async exchanges(): Promise<string[]> {
    const { rows } = await this.pool.query<{ line: string }>(
      `SELECT $1 || ' ' || (h.*)::text AS line FROM p2p.sync_history AS h ORDER BY id DESC LIMIT 20`,
      [this.id],
    );
    return rows.map(({ line }) => line);
  }

  /** What the node said, its end. */
  said(): string {
    return this.output.slice(-4000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.resumeServer();
    this.resumeNode();
    await this.killNode('SIGTERM');
    await this.pool.end();
    await this.server.stop();
    await this.made[Symbol.asyncDispose]();
  }

  private async endServer(): Promise<void> {
    const { pool } = this;
    this.resumeServer();
    send(this.server.pid, 'SIGQUIT');
    await this.server.stop();
    await pool.end();
  }

  private async startServer(): Promise<void> {
    const { dataDir, port } = this.server;
    this.server = await EmbeddedServer.start({ dataDir, port, settings });
    this.pool = this.openPool();
  }

  private async promoted(): Promise<void> {
    const end = Date.now() + deadline;
    for (;;) {
      const { rows } = await this.pool.query<{ recovering: boolean }>('SELECT pg_is_in_recovery() AS recovering');
      if (!rows[0]!.recovering) return;
      if (Date.now() > end) throw new Error(`The server of ${this.id} does not come out of recovery`);
      await sleep(50);
    }
  }

  private openPool(): Pool {
    const pool = new Pool({ connectionString: this.databaseUrl, max: 4 });
    pool.on('error', () => undefined);
    return pool;
  }

  private nodeArguments(peers: readonly string[]): string[] {
    return [
      'node',
      ...['--node-id', this.id, '--port', `${this.port}`, '--database-url', this.databaseUrl, '--tables', '*'],
      ...['--discovery', 'manual', '--sync-interval', '1s', '--log-level', 'warn', '--batch-size', '2000'],
      ...(peers.length === 0 ? [] : ['--peers', peers.join(',')]),
    ];
  }

  private spawn(args: readonly string[]): ChildProcess {
    const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (text: Buffer) => (this.output = (this.output + text.toString()).slice(-100_000)));
    return child;
  }

  private async ready(): Promise<boolean> {
    try {
      return (await fetch(`${this.url}/health/ready`)).status === 200;
    } catch {
      return false; // It does not listen yet.
    }
  }
}

const isRunning = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null;

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // A backend that has ended meanwhile.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
}

/** Files that vanish while they are copied were not to be kept. */
async function copyTree(from: string, to: string, filter: (path: string) => boolean = () => true): Promise<void> {
  await cp(from, to, { recursive: true, preserveTimestamps: true, filter }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    return copyTree(from, to, filter);
  });
}

/** What was copied by root belongs to the server's user. */
function giveTo(directory: string, uid: number, gid: number): void {
  if (process.getuid?.() !== 0) return;
  chmodSync(directory, 0o700);
  chownSync(directory, uid, gid);
  for (const entry of readdirSync(directory, { recursive: true }) as string[]) {
    chownSync(join(directory, entry), uid, gid);
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
