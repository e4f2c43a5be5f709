// @ts-check
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { now, Overdue } from './deadline.mjs';
import { freePort } from './postgres.mjs';
import { endChild } from './teardown.mjs';

/** This checkout's own. */
export const ownCli = fileURLToPath(new URL('../bin/pgmesh.js', import.meta.url));

/** Nothing of the caller's own configuration may reach a node of the bench, and nodes must not find each other early. */
/** @param {Record<string, string>} [settings] */
function environment(settings) {
  const own = Object.entries(process.env).filter(([name]) => !/^(P2P_|PG|DATABASE_URL$|NODE_ID$|API_PORT$)/.test(name));
  return { ...Object.fromEntries(own), NODE_ENV: 'production', P2P_DISCOVERY_MODE: 'manual', ...settings };
}

/** A pgmesh node, started from its command line and spoken to over HTTP, as a user would. */
export class NodeProcess {
  /** @param {string} id @param {number} port @param {string} logFile */
  constructor(id, port, logFile) {
    this.id = id;
    this.url = `http://127.0.0.1:${port}`;
    this.logFile = logFile;
    /** @type {import('node:child_process').ChildProcess | undefined} */
    this.child = undefined;
  }

  /**
   * Returns when the node says that it is ready: its tables are tracked, with the rows that were there before.
   * @param {import('./teardown.mjs').Teardown} teardown
   * @param {{ id: string, databaseUrl: string, tables: string, directory: string, patience: number, cli?: string, env?: Record<string, string> }} node
   */
  static async start(teardown, { id, databaseUrl, tables, directory, patience, cli = ownCli, env }) {
    const port = await freePort();
    const node = new NodeProcess(id, port, join(directory, `node-${id}-${port}.log`));
    const log = openSync(node.logFile, 'a');
    const args = ['node', '--node-id', id, '--port', String(port), '--database-url', databaseUrl, '--tables', tables];
    node.child = spawn(process.execPath, [cli, ...args], {
      cwd: directory,
      env: environment(env),
      stdio: ['ignore', log, log],
      detached: true,
    });
    closeSync(log);
    const child = node.child;
    teardown.child(child);
    teardown.defer(`node ${id}`, () => endChild(child, 'SIGTERM', `node ${id}`));
    await node.#ready(patience);
    return node;
  }

  /** @param {number} patience */
  async #ready(patience) {
    const deadline = now() + patience;
    let last = 'no answer';
    while (now() < deadline) {
      this.inspect();
      try {
        const response = await this.#request('/health/ready', {});
        if (response.status === 200) return;
        last = `${response.status} ${await response.text()}`;
      } catch (error) {
        last = error instanceof Error ? error.message : String(error);
      }
      await pause(100);
    }
    const overdue = new Overdue(`node ${this.id} to be ready (GET /health/ready: ${last.slice(0, 300)})`, patience);
    throw new Error(`${overdue.message}; ${this.lastWords()}`);
  }

  /** Whether the bench has ended it. */
  get isEnded() {
    return this.child?.killed ?? false;
  }

  /** Throws if the node has ended, which no node does by itself. */
  inspect() {
    const { exitCode, signalCode } = this.child ?? {};
    if (exitCode == null && signalCode == null) return;
    throw new Error(`node ${this.id} has ended (${exitCode ?? signalCode}); ${this.lastWords()}`);
  }

  /** Tells this node of a peer. @param {string} url */
  async addPeer(url) {
    const response = await this.#request('/p2p/peers', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ url }),
    });
    if (response.ok) return;
    const answer = `${response.status} ${(await response.text()).slice(0, 500)}`;
    throw new Error(`node ${this.id} refused its peer ${url} (POST /p2p/peers): ${answer}`);
  }

  /** @param {string} path @param {RequestInit} init */
  #request(path, init) {
    return fetch(this.url + path, { ...init, signal: globalThis.AbortSignal.timeout(30_000) });
  }

  /** The end of the node's log, for an error's message. */
  lastWords(lines = 12) {
    const log = readFileSync(this.logFile, 'utf8').trimEnd().split('\n').slice(-lines);
    return `the last of its log:\n${log.map((line) => `    ${line.slice(0, 400)}`).join('\n')}`;
  }

  /** The most memory that the node has held so far, its child processes included, in MB (10^6 bytes). Linux alone. */
  peakMemory() {
    return peakOf(/** @type {number} */ (this.child?.pid)) / 1e6;
  }
}

/** @param {number} pid @returns {number} bytes */
function peakOf(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  const own = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1_024;
  return children.reduce((sum, child) => sum + peakOf(child), own);
}
