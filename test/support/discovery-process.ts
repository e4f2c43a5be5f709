/** A process that does nothing but discover (`discovery-peer.ts`), on loopback or on one side of a network pair. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { MdnsSourceOptions, PeerAddress } from '../../libs/discovery/src';
import { type NetworkSide, typescript } from './netns';

interface Line {
  started?: true;
  found?: PeerAddress;
  lost?: PeerAddress;
  warning?: string;
}

export class DiscoveryProcess implements AsyncDisposable {
  readonly warnings: string[] = [];
  /** Node id by URL, of the peers that it sees now. */
  readonly peers = new Map<string, string | undefined>();
  readonly #child: ChildProcess;
  #complaint = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stderr!.on('data', (bytes: Buffer) => (this.#complaint += bytes.toString()));
  }

  static async start(options: Omit<MdnsSourceOptions, 'warn'>, side?: NetworkSide): Promise<DiscoveryProcess> {
    const line = typescript(join(__dirname, 'discovery-peer.ts'), JSON.stringify(options));
    const [command, args] = side ? side.command(...line) : [line[0], line.slice(1)];
    const peer = new DiscoveryProcess(spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] }));
    await peer.#started();
    return peer;
  }

  async #started(): Promise<void> {
    const started = new Promise<void>((resolve) => {
      createInterface({ input: this.#child.stdout! }).on('line', (text) => {
        const line = JSON.parse(text) as Line;
        if (line.started) resolve();
        if (line.found) this.peers.set(line.found.url, line.found.nodeId);
        if (line.lost) this.peers.delete(line.lost.url);
        if (line.warning !== undefined) this.warnings.push(line.warning);
      });
    });
    const ended = once(this.#child, 'exit').then(() => {
      throw new Error(`The discovery process ended: ${this.#complaint}`);
    });
    await Promise.race([started, ended]);
    ended.catch(() => undefined); // From here on its end is what a test wants.
  }

  /** As `kill -9` does: without a goodbye. */
  kill(): Promise<void> {
    return this.#end(() => this.#child.kill('SIGKILL'));
  }

  /** With a goodbye. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end(() => this.#child.stdin!.end());
  }

  async #end(how: () => void): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    how();
    await ended;
  }
}

/** Waits for what must come, and says what was there instead if it does not. */
export async function eventually(expectation: () => void, within = 20_000): Promise<void> {
  const deadline = Date.now() + within;
  for (;;) {
    try {
      return expectation();
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
