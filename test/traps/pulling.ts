/** `pull-process.ts` as a child of the test. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { typescript } from '../support/netns';
import type { StoreNode } from '../support/store-node';
import type { PullSettings } from './pull-process';

/** Starts to pull all from one database into the other. The rows and the peak memory in bytes are known when it has ended. */
export async function startPulling(from: StoreNode, to: StoreNode, limit = 20_000): Promise<Pulling> {
  const settings: PullSettings = {
    from: { url: from.db.url, nodeId: from.id },
    to: { url: to.db.url, nodeId: to.id },
    limit,
  };
  const [command, ...args] = typescript(join(__dirname, 'pull-process.ts'));
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PULL: JSON.stringify(settings) },
  });
  const pulling = new Pulling(child);
  await pulling.ready;
  return pulling;
}

export class Pulling {
  readonly ready: Promise<void>;
  readonly ended: Promise<void>;
  rows = 0;
  peak = 0;
  complaint = '';

  constructor(private readonly child: ChildProcess) {
    child.stderr!.on('data', (bytes: Buffer) => (this.complaint += bytes.toString()));
    this.ended = once(child, 'close').then(() => undefined);
    this.ready = new Promise((resolve, reject) => {
      createInterface({ input: child.stdout! }).on('line', (text) => {
        const line = JSON.parse(text) as { ready?: true; rows?: number; peak?: number };
        if (line.ready) resolve();
        this.rows += line.rows ?? 0;
        this.peak = line.peak ?? this.peak;
      });
      void this.ended.then(() => reject(new Error(`The pull ended before it began: ${this.complaint}`)));
    });
  }

  /** As `kill -9` does. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }
}
