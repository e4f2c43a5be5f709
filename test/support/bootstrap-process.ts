/** `pgmesh bootstrap` as a process of its own, with a register that outlasts it: it can be killed and started again at its address. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TEMPORARY } from './database';

const program = join(__dirname, '../../bin/pgmesh.js');
/** How often another port is tried where one is taken. */
const attempts = 10;

export interface BootstrapMember {
  readonly node_id: string;
  readonly urls: readonly string[];
  readonly joined: boolean;
}

export class BootstrapProcess implements AsyncDisposable {
  #child: ChildProcess | null = null;
  log = '';

  private constructor(
    private readonly directory: string,
    private readonly settings: Readonly<Record<string, string>>,
    private port: number,
  ) {}

  static async start(settings: Readonly<Record<string, string>> = {}): Promise<BootstrapProcess> {
    const directory = await mkdtemp(join(tmpdir(), TEMPORARY));
    const bootstrap = new BootstrapProcess(directory, settings, 0);
    for (let attempt = 1; ; attempt++) {
      // Below those that the system gives to others, so that it is still free after a kill.
      bootstrap.port = 20_000 + Math.floor(Math.random() * 10_000);
      try {
        await bootstrap.start();
        return bootstrap;
      } catch (error) {
        if (attempt < attempts && bootstrap.log.includes('is taken')) continue;
        await bootstrap[Symbol.asyncDispose]();
        throw error;
      }
    }
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Resolves when it answers. */
  async start(): Promise<void> {
    this.log = '';
    const args = [program, 'bootstrap', '--port', String(this.port), '--data-dir', this.directory];
    const env = { PATH: process.env.PATH, P2P_BOOTSTRAP_LEASE: '6s', ...this.settings };
    const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    const ended = once(child, 'close').then(() => Promise.reject(new Error(`The bootstrap node ended: ${this.log}`)));
    const listening = new Promise<void>((resolve) => {
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (text: Buffer) => {
          this.log += text.toString();
          if (this.log.includes('"msg":"listening"')) resolve();
        });
      }
    });
    await Promise.race([listening, ended]);
    ended.catch(() => undefined); // from here on its end is what a test wants
  }

  /** As `kill -9` does. */
  kill(): Promise<void> {
    return this.#end('SIGKILL');
  }

  /** In order. */
  stop(): Promise<void> {
    return this.#end('SIGTERM');
  }

  async members(room = 'default'): Promise<BootstrapMember[]> {
    const answer = await fetch(`${this.url}/p2p/bootstrap/${room}`);
    if (answer.status === 404) return [];
    return ((await answer.json()) as { members: BootstrapMember[] }).members;
  }

  /** One of its messages, by hand. */
  async send<Answer>(message: string, body: object): Promise<Answer> {
    const response = await fetch(`${this.url}/p2p/bootstrap/${message}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${message}: ${response.status} ${text}`);
    return JSON.parse(text) as Answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await rm(this.directory, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }
}
