import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Report } from '../../../product-review/src/main';

/** A line of a node's log. */
export type LogLine = Readonly<Record<string, unknown>> & {
  readonly time?: string;
  readonly level?: string;
  readonly msg?: string;
};

export type Ready = Extract<Report, { type: 'ready' }>;

export interface DemoNodeListener {
  progress(node: DemoNode, what: string): void;
  logged(node: DemoNode, line: LogLine): void;
}

const program = join(__dirname, '../../../product-review/src/main.js');
/** A node that has not ended by itself after a stop is killed, in ms. */
const patience = 25_000;

/** One node of the demonstration: a process of the reference application. */
export class DemoNode {
  readonly ready: Promise<Ready>;
  /** How it ended: a sentence. */
  readonly ended: Promise<string>;
  private readonly child: ChildProcess;
  private readonly complaints: string[] = [];
  private stopping = false;

  constructor(
    readonly name: string,
    settings: Readonly<Record<string, string>>,
    listener: DemoNodeListener,
  ) {
    // In a process group of its own: Ctrl-C reaches this process alone, which then stops the nodes in order. Should this
    // process be killed, the closed channel tells them to stop.
    this.child = fork(program, {
      env: { ...inherited(), ...settings },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    this.ended = new Promise((resolve) => {
      this.child.once('error', (error) => resolve(`could not be started: ${error.message}`));
      this.child.once('close', (code, signal) => resolve(this.epitaph(code, signal)));
    });
    this.ready = new Promise((resolve, reject) => {
      this.child.on('message', (report: Report) => {
        if (report.type === 'progress') listener.progress(this, report.what);
        else resolve(report);
      });
      void this.ended.then((how) => reject(new Error(`${name} ${how}`)));
    });
    createInterface({ input: this.child.stdout! }).on('line', (text) => listener.logged(this, read(text)));
    createInterface({ input: this.child.stderr! }).on('line', (text) => {
      this.complaints.push(text);
      if (this.complaints.length > 20) this.complaints.shift();
    });
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /** Whether its end was asked for. */
  get isStopping(): boolean {
    return this.stopping;
  }

  /** In order; a second call makes it end at once. */
  async stop(): Promise<string> {
    this.stopping = true;
    this.child.kill('SIGTERM');
    const impatience = setTimeout(() => this.child.kill('SIGKILL'), patience);
    try {
      return await this.ended;
    } finally {
      clearTimeout(impatience);
    }
  }

  private epitaph(code: number | null, signal: NodeJS.Signals | null): string {
    const how = signal ? `was ended by ${signal}` : `ended with code ${code}`;
    return this.complaints.length === 0 ? how : `${how}: ${this.complaints.join('\n  ')}`;
  }
}

function read(text: string): LogLine {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value as LogLine;
  } catch {
    // Not one of our lines: shown as it is.
  }
  return { level: 'info', msg: text };
}

/** The environment without settings: those of the three nodes must differ. The log's level and the secret may be chosen for all. */
function inherited(): NodeJS.ProcessEnv {
  const shared = new Set(['P2P_LOG_LEVEL', 'P2P_SECRET']);
  const isSetting = (name: string): boolean =>
    /^(P2P_.*|NODE_ID|API_PORT|DATABASE_URL)$/.test(name) && !shared.has(name);
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !isSetting(name)));
}
