import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const program = join(__dirname, '../bin/pgmesh.js');
const deadline = 60_000;

let directory: string;
beforeEach(async () => (directory = await mkdtemp(join(tmpdir(), 'pgmesh-demo-'))));
afterEach(() => rm(directory, { recursive: true, force: true }));

it('npm start: three nodes come up, find each other, keep what they have, and leave no process', async () => {
  const [a, b, c, x, y, z, discovery] = (await freePorts(7)) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const args = ['--ports', `${a},${b},${c}`, '--database-ports', `${x},${y},${z}`, '--discovery-port', `${discovery}`];

  const first = new Demonstration(directory, args);
  await first.shows(/Ready after/);
  expect(first.output).toMatch(/node1 .*with 10 rows of sample data/);
  const created = await fetch(`http://127.0.0.1:${a}/products/`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"name":"Lamp","price":"49.00"}',
  });
  expect(created.status).toBe(201);
  const { id } = (await created.json()) as { id: string };
  for (const port of [b, c])
    await eventually(async () => (await fetch(`http://127.0.0.1:${port}/products/${id}`)).status === 200);
  await first.stop('SIGINT');
  expect(await processesNaming(directory)).toEqual([]);

  const second = new Demonstration(directory, args);
  await second.shows(/Ready after/);
  expect(second.output).not.toContain('sample data');
  expect((await fetch(`http://127.0.0.1:${c}/products/${id}`)).status).toBe(200);
  await second.stop('SIGTERM');
  expect(await processesNaming(directory)).toEqual([]);
});

it('a node that cannot start is named with the reason, and the others are stopped', async () => {
  const [a, b, x, y, z, discovery] = (await freePorts(6)) as [number, number, number, number, number, number];
  await using taken = await listening();
  const ports = `${a},${b},${taken.port}`;
  const demo = new Demonstration(directory, [
    '--ports',
    ports,
    '--database-ports',
    `${x},${y},${z}`,
    '--discovery-port',
    `${discovery}`,
  ]);
  expect(await demo.ended).toBe(1);
  expect(demo.output).toMatch(new RegExp(`node3 .*API_PORT=${taken.port} is taken`));
  expect(await processesNaming(directory)).toEqual([]);
});

class Demonstration {
  output = '';
  readonly ended: Promise<number | null>;
  private readonly child: ChildProcess;

  constructor(data: string, args: string[]) {
    this.child = spawn(process.execPath, [program, 'demo', '--data-dir', data, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.child.stdout!, this.child.stderr!])
      stream.on('data', (text: Buffer) => (this.output += text.toString()));
    this.ended = new Promise((resolve) => this.child.once('close', (code) => resolve(code)));
  }

  async shows(pattern: RegExp): Promise<void> {
    let over = false;
    void this.ended.then(() => (over = true));
    await eventually(async () => {
      if (over) throw new Error(`The demonstration ended:\n${this.output}`);
      return pattern.test(this.output);
    });
  }

  async stop(signal: NodeJS.Signals): Promise<void> {
    this.child.kill(signal);
    expect(await this.ended).toBe(0);
  }
}

async function eventually(condition: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + deadline;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`Not within ${deadline / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Whatever still runs with that directory among its arguments or in its environment. */
async function processesNaming(text: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      if (command.includes(text)) found.push(`${pid} ${command}`);
    } catch {
      // It ended while we looked.
    }
  }
  return found;
}

async function listening(): Promise<AsyncDisposable & { port: number }> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return { port, [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())) };
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, listening));
  const ports = servers.map(({ port }) => port);
  for (const server of servers) await server[Symbol.asyncDispose]();
  return ports;
}
