import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(__dirname, '..');
const program = join(root, 'bin/pgmesh.js');

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function run(command: string, args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  const options = { cwd: root, timeout: 30_000, env: { ...process.env, ...env } };
  return new Promise((resolve) => {
    execFile(command, args, options, (error, out, err) => {
      resolve({ code: error ? Number(error.code ?? -1) : 0, out, err });
    });
  });
}

const pgmesh = (...args: string[]): Promise<Outcome> => run(process.execPath, [program, ...args]);

beforeAll(() => {
  if (!existsSync(join(root, 'dist/apps/cli/src/main.js')))
    throw new Error('Run npm run build first: these tests start what is built.');
});

describe('pgmesh', () => {
  it('runs in the clone as npx pgmesh', async () => {
    const { out } = await run('npx', ['--no-install', 'pgmesh', '--help']);
    expect(out).toMatch(/Usage: pgmesh[\s\S]*node[\s\S]*demo[\s\S]*detach/);
  });

  it('says what to do when it is not built', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'pgmesh-cli-'));
    try {
      cpSync(join(root, 'bin'), join(directory, 'bin'), { recursive: true });
      const { code, err } = await run(process.execPath, [join(directory, 'bin/pgmesh.js')]);
      expect({ code, err }).toEqual({ code: 1, err: 'pgmesh is not built yet. Run: npm run build\n' });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('has an option for each setting that may stand on a command line', async () => {
    const { out } = await pgmesh('node', '--help');
    for (const option of [
      '--node-id',
      '--port',
      '--database-url',
      '--tables',
      '--peers',
      '--env-file',
      '--max-drift',
    ]) {
      expect(out).toContain(option);
    }
    expect(out).not.toContain('--secret');
  });

  it('refuses settings that cannot be used, by name, and starts nothing', async () => {
    const { code, err } = await pgmesh('node', '--node-id', 'a b', '--port', 'x', '--tables', 't');
    expect(code).toBe(1);
    expect(err).toMatch(/NODE_ID="a b" is no node name.*\nAPI_PORT="x" is no whole number/);
  });

  it('asks for tables', async () => {
    const { code, err } = await pgmesh('node', '--node-id', 'a');
    expect({ code, err }).toEqual({
      code: 1,
      err: expect.stringMatching(/^P2P_TABLES is not set.*--tables/) as string,
    });
  });

  it('refuses to open a node without a secret', async () => {
    const { code, err } = await pgmesh('node', '--tables', 't', '--host', '0.0.0.0');
    expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/P2P_HOST.*P2P_SECRET/) as string });
  });

  it('runs bootstrap nodes by the same rules, with the settings that are theirs', async () => {
    const { out } = await pgmesh('bootstrap', '--help');
    for (const option of ['--port', '--data-dir', '--bootstrap-lease', '--env-file', 'P2P_SECRET', '(default: 8000)']) {
      expect(out).toContain(option);
    }
    expect(out).not.toContain('--tables');
    const open = await pgmesh('bootstrap', '--host', '0.0.0.0');
    expect(open).toMatchObject({ code: 1, err: expect.stringMatching(/P2P_HOST.*P2P_SECRET/) as string });
    const nowhere = await pgmesh('bootstrap', '--port', '0', '--data-dir', join(root, 'package.json'));
    expect(nowhere).toMatchObject({ code: 1, err: expect.stringMatching(/cannot be kept.*P2P_DATA_DIR/) as string });
  });

  it('says that no node answers', async () => {
    const { code, err } = await pgmesh('status', '--url', 'http://127.0.0.1:9');
    expect({ code, err }).toEqual({
      code: 1,
      err: expect.stringMatching(/No node answers at http:\/\/127.0.0.1:9/) as string,
    });
  });

  it('wants to know which database to detach', async () => {
    const { code, err } = await run(process.execPath, [program, 'detach'], { DATABASE_URL: '' });
    expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/--database-url/) as string });
  });
});
