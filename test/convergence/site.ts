import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Pool } from 'pg';
import { EmbeddedServer } from '../../libs/store/src/embedded';
import { startServer, type TestServer } from '../support/database';

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
const deadline = 60_000;

export interface NodeStatus {
  readonly sync_running: boolean;
  readonly conflicts_resolved: number;
  readonly peers: readonly {
    readonly state: string;
    readonly lag_ms: number;
    readonly copying: object | null;
    readonly last_error: object | null;
  }[];
}

/** A database server, and a node of pgmesh beside it as a process of its own: each can be killed and started again. */
export class Site implements AsyncDisposable {
  pool: Pool;
  private node: ChildProcess | null = null;
  private output = '';

  private constructor(
    readonly id: 'a' | 'b',
    private readonly made: TestServer,
    private server: EmbeddedServer,
    readonly port: number,
  ) {
    this.pool = this.openPool();
  }

  static async start(id: 'a' | 'b'): Promise<Site> {
    const made = await startServer(settings);
    await made.server.createDatabase('trade');
    const site = new Site(id, made, made.server, await freePort());
    const schema =
      readFileSync(join(__dirname, 'schema.sql'), 'utf8') + readFileSync(join(__dirname, 'ledger.sql'), 'utf8');
    await site.pool.query(schema);
    return site;
  }

  get databaseUrl(): string {
    return this.server.url('trade');
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

  async startNode(peer: Site): Promise<void> {
    const end = Date.now() + deadline;
    for (let attempts = 1; ; attempts++) {
      const node = this.spawn(peer);
      while (node.exitCode === null && node.signalCode === null) {
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
    if (!node || node.exitCode !== null || node.signalCode !== null) return;
    const ended = new Promise((resolve) => node.once('exit', resolve));
    node.kill(signal);
    await ended;
  }

  /** An immediate shutdown, as `pg_ctl stop -m immediate` asks for it, and recovery from the log. */
  async crashServer(pause: number): Promise<void> {
    const { dataDir, port, pid } = this.server;
    const pool = this.pool;
    process.kill(pid, 'SIGQUIT');
    await this.server.stop();
    await pool.end();
    await sleep(pause);
    this.server = await EmbeddedServer.start({ dataDir, port, settings });
    this.pool = this.openPool();
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
    await this.killNode('SIGTERM');
    await this.pool.end();
    await this.server.stop();
    await this.made[Symbol.asyncDispose]();
  }

  private openPool(): Pool {
    const pool = new Pool({ connectionString: this.databaseUrl, max: 4 });
    pool.on('error', () => undefined);
    return pool;
  }

  private spawn(peer: Site): ChildProcess {
    const args = ['--node-id', this.id, '--port', `${this.port}`, '--database-url', this.databaseUrl, '--tables', '*'];
    const more = [
      '--peers',
      peer.url,
      '--discovery',
      'manual',
      '--sync-interval',
      '1s',
      '--log-level',
      'warn',
      '--batch-size',
      '2000',
    ];
    const node = spawn(process.execPath, [program, 'node', ...args, ...more], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [node.stdout, node.stderr])
      stream.on('data', (text: Buffer) => (this.output += text.toString()));
    this.node = node;
    return node;
  }

  private async ready(): Promise<boolean> {
    try {
      return (await fetch(`${this.url}/health/ready`)).status === 200;
    } catch {
      return false; // It does not listen yet.
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
