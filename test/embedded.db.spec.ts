import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, writeSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, readdir, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { EmbeddedServer } from '../libs/store/src/embedded';
import { makeMissingLinks } from '../libs/store/src/embedded/binaries';
import { ServerLog } from '../libs/store/src/embedded/log';
import { isRunning, processOf, signal, waitUntil } from '../libs/store/src/embedded/process';
import { createDatabase, startServer, TEMPORARY } from './support/database';

const root = join(__dirname, '..');

/** A temporary directory that goes with the test. */
async function temporary(): Promise<AsyncDisposable & { dataDir: string }> {
  const directory = await mkdtemp(join(tmpdir(), TEMPORARY));
  return {
    dataDir: join(directory, 'data'),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

async function ask<R = Record<string, unknown>>(server: EmbeddedServer, text: string): Promise<R[]> {
  const client = new Client(server.url('postgres'));
  await client.connect();
  try {
    return (await client.query(text)).rows as R[];
  } finally {
    await client.end();
  }
}

/** Another process that starts a server on the directory, and then waits or does what is given. */
async function parentOf(dataDir: string, then = 'setInterval(() => {}, 1000)') {
  const program = `
    const swc = require('@swc/core');
    require.extensions['.ts'] = (module, file) => module._compile(swc.transformFileSync(file).code, file);
    const { EmbeddedServer } = require('./libs/store/src/embedded');
    EmbeddedServer.start({ dataDir: ${JSON.stringify(dataDir)} }).then((server) => {
      console.log(JSON.stringify({ pid: server.pid, port: server.port }));
      ${then};
    });`;
  const child = spawn(process.execPath, ['-e', program], { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const [line] = (await once(child.stdout, 'data', { signal: AbortSignal.timeout(30_000) })) as [Buffer];
  const kill = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  const { pid, port } = JSON.parse(line.toString()) as { pid: number; port: number };
  return { pid: child.pid, ended, kill, server: { ...processOf(pid), port } };
}

/** The number of the processes that work in the directory, as those of a server do. */
async function processesIn(dataDir: string): Promise<number> {
  const processes = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const places = await Promise.all(processes.map((pid) => readlink(`/proc/${pid}/cwd`).catch(() => '')));
  return places.filter((place) => place === dataDir).length;
}

describe('the embedded server', () => {
  it('starts on loopback, answers and stops without leaving a process', async () => {
    await using place = await temporary();
    const dataDir = join(place.dataDir, 'node 1', 'pg'); // nothing of it is there yet
    const progress: string[] = [];
    const server = await EmbeddedServer.start({ dataDir, onProgress: (what) => progress.push(what) });
    expect(await ask(server, 'SHOW listen_addresses')).toEqual([{ listen_addresses: '127.0.0.1' }]);
    expect(await ask(server, 'SHOW unix_socket_directories')).toEqual([{ unix_socket_directories: '' }]);
    expect(await ask(server, 'SHOW wal_segment_size')).toEqual([{ wal_segment_size: '1MB' }]);
    expect(progress).toEqual([`making a database in ${dataDir}`, `starting the database in ${dataDir}`]);
    if (process.platform === 'linux') expect(await processesIn(dataDir)).toBeGreaterThan(0);
    const postmaster = processOf(server.pid);
    await server.stop();
    await server.stop();
    expect(isRunning(postmaster)).toBe(false);
    if (process.platform === 'linux') expect(await processesIn(dataDir)).toBe(0);
  });

  it('keeps its data and its password over a restart', async () => {
    await using place = await temporary();
    {
      await using first = await EmbeddedServer.start(place);
      expect(await first.createDatabase('My "shop"')).toBe(true);
      expect(await first.createDatabase('My "shop"')).toBe(false);
      await ask(first, 'CREATE TABLE kept AS SELECT 42 AS answer');
    }
    expect((await stat(`${place.dataDir}.password`)).mode & 0o777).toBe(0o600);
    await using second = await EmbeddedServer.start(place);
    expect(await ask(second, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
    expect(await second.createDatabase('My "shop"')).toBe(false);
  });

  it('takes a given password, and refuses another one later', async () => {
    await using place = await temporary();
    {
      await using server = await EmbeddedServer.start({ ...place, password: 'p@ss/wörd %' });
      expect(await ask(server, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    }
    await expect(EmbeddedServer.start({ ...place, password: 'other' })).rejects.toThrow(/made with another password/);
  });

  it('names the port that is taken, or takes another one when it may', async () => {
    await using place = await temporary();
    const listener = createServer().listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const { port } = listener.address() as AddressInfo;
    try {
      await expect(EmbeddedServer.start({ ...place, port })).rejects.toMatchObject({
        code: 'EMBEDDED_PORT_TAKEN',
        message: expect.stringContaining(`Port ${port} on 127.0.0.1 is taken`) as string,
      });
      await using server = await EmbeddedServer.start({ ...place, port, portFallback: true });
      expect(server.port).not.toBe(port);
    } finally {
      listener.close();
    }
  });

  it('adopts the server that a killed parent left running, and stops it too', async () => {
    await using place = await temporary();
    const parent = await parentOf(place.dataDir);
    await parent.kill();
    expect(isRunning(parent.server)).toBe(true);
    const server = await EmbeddedServer.start(place);
    expect(server).toMatchObject({ pid: parent.server.pid, port: parent.server.port });
    expect(await ask(server, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await server.stop();
    expect(isRunning(parent.server)).toBe(false);
  });

  it('restarts the server that a killed parent left running with other settings', async () => {
    await using place = await temporary();
    const parent = await parentOf(place.dataDir);
    await parent.kill();
    await using server = await EmbeddedServer.start({ ...place, settings: { max_prepared_transactions: '7' } });
    expect(isRunning(parent.server)).toBe(false);
    expect(await ask(server, 'SHOW max_prepared_transactions')).toEqual([{ max_prepared_transactions: '7' }]);
  });

  it('leaves the server of a living process alone', async () => {
    await using place = await temporary();
    const parent = await parentOf(place.dataDir);
    try {
      await expect(EmbeddedServer.start(place)).rejects.toMatchObject({
        code: 'EMBEDDED_IN_USE',
        message: expect.stringContaining(`in use by process ${parent.pid}`) as string,
      });
      expect(isRunning(parent.server)).toBe(true);
    } finally {
      await parent.kill();
      expect(await EmbeddedServer.stopLeftBehind(place.dataDir)).toBe(true);
    }
    expect(isRunning(parent.server)).toBe(false);
  });

  it('ends with a parent that ends without stopping it', async () => {
    await using place = await temporary();
    const parent = await parentOf(place.dataDir, 'process.exit(3)');
    expect(await parent.ended).toEqual([3, null]);
    expect(await waitUntil(() => !isRunning(parent.server), 30_000)).toBe(true);
  });

  it('starts after the server itself was killed, also when its number belongs to another process since', async () => {
    await using place = await temporary();
    const first = await EmbeddedServer.start(place);
    await ask(first, 'CREATE TABLE kept AS SELECT 42 AS answer');
    const postmaster = processOf(first.pid);
    signal(postmaster, 'SIGKILL');
    expect(await waitUntil(() => !isRunning(postmaster), 30_000)).toBe(true);
    await first.stop();
    const lockFile = join(place.dataDir, 'postmaster.pid');
    const lines = (await readFile(lockFile, 'utf8')).split('\n');
    if (process.platform === 'linux') await writeFile(lockFile, [process.ppid, ...lines.slice(1)].join('\n'));
    await using second = await EmbeddedServer.start(place);
    expect(await ask(second, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
  });

  it('refuses a directory that holds something else, and leaves it as it is', async () => {
    await using place = await temporary();
    await mkdir(place.dataDir, { recursive: true });
    await writeFile(join(place.dataDir, 'letter.txt'), 'dear');
    await expect(EmbeddedServer.start(place)).rejects.toMatchObject({ code: 'EMBEDDED_DATA_DIR' });
    expect(await readdir(place.dataDir)).toEqual(['letter.txt']);
  });

  it('says what PostgreSQL said when it does not start', async () => {
    await using place = await temporary();
    await expect(EmbeddedServer.start({ ...place, settings: { no_such_setting: '1' } })).rejects.toThrow(
      /unrecognized configuration parameter "no_such_setting"/,
    );
    // The directory is free again.
    await using server = await EmbeddedServer.start(place);
    expect(server.port).toBeGreaterThan(0);
  });

  it('keeps its log small, and the end of the one before', async () => {
    await using place = await temporary();
    await mkdir(place.dataDir);
    const log = new ServerLog(place.dataDir);
    await writeFile(log.path, 'x'.repeat(5 * 1024 * 1024));
    const file = log.open();
    writeSync(file, 'ready');
    closeSync(file);
    expect(log.text()).toBe('ready');
    expect((await stat(log.path)).size).toBe(5);
    expect((await stat(`${log.path}.old`)).size).toBe(5 * 1024 * 1024);
  });

  it('starts three at once that all want the same port', async () => {
    await using place = await temporary();
    const starts = ['a', 'b', 'c'].map((name) =>
      EmbeddedServer.start({ dataDir: `${place.dataDir}-${name}`, port: 0 }),
    );
    const servers = await Promise.all(starts);
    await Promise.all(servers.map((server) => server.stop()));
    // Again, over the databases that are there, so that the three reach for the port at the same moment.
    const port = servers[0]!.port;
    const again = await Promise.all(
      servers.map(({ dataDir }) => EmbeddedServer.start({ dataDir, port, portFallback: true })),
    );
    expect(new Set(again.map((server) => server.port)).size).toBe(3);
    const postmasters = again.map((server) => processOf(server.pid));
    await Promise.all(again.map((server) => server.stop()));
    expect(postmasters.some(isRunning)).toBe(false);
  });
});

describe("the platform's package", () => {
  it('gets the links that its install script would have made, and keeps those that are there', async () => {
    await using place = await temporary();
    const lib = join(place.dataDir, 'native', 'lib');
    await mkdir(lib, { recursive: true });
    await writeFile(join(lib, 'libpq.so.5.17'), 'library');
    const links = ['libpq.so', 'libpq.so.5'].map((name) => ({
      source: 'native/lib/libpq.so.5.17',
      target: `native/lib/${name}`,
    }));
    await writeFile(join(place.dataDir, 'native', 'pg-symlinks.json'), JSON.stringify(links));
    await symlink('libpq.so.5.17', join(lib, 'libpq.so'));
    makeMissingLinks(place.dataDir);
    makeMissingLinks(place.dataDir);
    expect(await readlink(join(lib, 'libpq.so.5'))).toBe('libpq.so.5.17');
    expect(await readFile(join(lib, 'libpq.so'), 'utf8')).toBe('library');
  });
});

describe("a test's database", () => {
  it('is made on the server of the run and goes with the test, whoever is connected', async () => {
    let name: string;
    let guestEnded: Promise<unknown[]>;
    {
      await using database = await createDatabase();
      name = database.name;
      expect(await database.sql('SELECT current_database() AS name, $1::int AS n', [1])).toEqual([{ name, n: 1 }]);
      const guest = new Client(database.url);
      await guest.connect();
      guestEnded = once(guest, 'error');
      guest.on('error', () => undefined); // the server's farewell, then the closed connection
    }
    expect(String((await guestEnded)[0])).toMatch(/terminating connection/);
    await using other = await createDatabase();
    expect(await other.sql('SELECT 1 FROM pg_database WHERE datname = $1', [name])).toEqual([]);
  });

  it('may have a server of its own, with its own settings', async () => {
    await using server = await startServer({ max_prepared_transactions: '10' });
    await using database = await server.createDatabase();
    expect(await database.sql('SHOW max_prepared_transactions')).toEqual([{ max_prepared_transactions: '10' }]);
    expect(await database.sql('SHOW max_connections')).toEqual([{ max_connections: '200' }]);
  });
});
