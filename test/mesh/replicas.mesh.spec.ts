import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { createDatabase, type TestDatabase } from '../support/database';
import { eventually, LiveNode } from '../support/mesh-node';

const program = join(__dirname, '../../bin/pgmesh.js');
const schema = `CREATE TABLE note (id text PRIMARY KEY)`;

/** One of several processes over a database. */
class Replica implements AsyncDisposable {
  url = '';
  private output = '';
  private process: ChildProcess;
  private readonly sockets: WebSocket[] = [];

  constructor(database: TestDatabase) {
    const args = ['--node-id', 'a', '--port', '0', '--database-url', database.url, '--tables', 'note'];
    const more = ['--discovery', 'manual', '--sync-interval', '1s', '--timeout', '3s'];
    this.process = spawn(process.execPath, [program, 'node', ...args, ...more], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.process.stdout!, this.process.stderr!])
      stream.on('data', (text: Buffer) => (this.output += text.toString()));
  }

  /** Waits until it leads, or stands by. */
  async takes(role: 'up' | 'standing by'): Promise<this> {
    await eventually(
      `the replica is ${role}`,
      async () => {
        this.url ||= /http:\/\/127\.0\.0\.1:\d+/.exec(this.output)?.[0] ?? '';
        if (this.url === '') throw new Error(this.output);
        const answer = await fetch(`${this.url}/health/ready`, { signal: AbortSignal.timeout(5_000) });
        const { info } = (await answer.json()) as { info?: { mesh?: { role?: string } } };
        expect(info?.mesh?.role ?? (answer.status === 200 ? 'up' : this.output)).toBe(role);
      },
      120_000,
    );
    return this;
  }

  async listen(): Promise<string[]> {
    const types: string[] = [];
    const socket = new WebSocket(`${this.url.replace('http', 'ws')}/p2p/ws`);
    this.sockets.push(socket);
    socket.on('error', () => undefined);
    socket.on('message', (message: Buffer) => types.push((JSON.parse(message.toString()) as { type: string }).type));
    await eventually('the events begin', () => expect(types).toContain('hello'));
    return types;
  }

  signal(name: NodeJS.Signals): void {
    this.process.kill(name);
  }

  async end(name: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.kill('SIGCONT');
    this.process.kill(name);
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.terminate();
    await this.end('SIGKILL');
  }
}

it('trap 33: processes over one database share a node: one leads, all serve, and another takes over from one that is killed or stands still', async () => {
  await using database = await createDatabase();
  await database.sql(schema);
  await using b = await LiveNode.start('b', schema);
  const both = async (id: string): Promise<void> => {
    for (const [from, to] of [
      [database, b],
      [b, database],
    ] as const) {
      await from.sql(`INSERT INTO note VALUES ($1)`, [`${id} of ${from === b ? 'b' : 'a'}`]);
      await eventually(
        `what was written ${id} has arrived`,
        async () => expect(await to.sql('SELECT id FROM note')).toEqual(await from.sql('SELECT id FROM note')),
        120_000,
      );
    }
  };

  await using first = await new Replica(database).takes('up');
  await using second = await new Replica(database).takes('standing by');
  await second.takes('standing by');
  await b.dial(second.url);
  // b knows but the one that stands by: all that it asks and brings is passed on.
  const told = await second.listen();
  await both('at first');
  await eventually('events reach clients of both', () => expect(told).toContain('changes_received'));

  // Killed: its connection ends with it, and the lease is free at once.
  await first.end('SIGKILL');
  await second.takes('up');
  await both('after the kill');

  // Stopped in its tracks: the lease runs out.
  await using third = await new Replica(database).takes('standing by');
  await b.dial(third.url);
  second.signal('SIGSTOP');
  await third.takes('up');
  await both('while the leader stands still');

  // When it wakes, it learns what has happened, and its peers take it for no copy.
  second.signal('SIGCONT');
  await second.takes('standing by');
  await both('after it woke');
  expect(b.events.filter((event) => event.type === 'sync_failed' && event.code === 'cloned_node')).toEqual([]);

  // An orderly end hands over at once.
  await third.end();
  await second.takes('up');
  await both('in the end');
});
