/**
 * Two network namespaces joined by a cable (veth), to see what crosses a network and what does not. Needs Linux and
 * `ip` (iproute2); root or, where root is not given, user namespaces. A namespace lives as long as a process is in it: here one
 * that ends with its standard input, so that even a killed test leaves nothing behind.
 */
import { type ChildProcess, execFile, spawn, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface NetworkSide {
  /** Its own IPv4 address on the cable. */
  readonly address: string;
  /** Command and arguments that run `args` on this side. */
  command(...args: string[]): [string, string[]];
}

export interface NetworkPair extends AsyncDisposable {
  readonly left: NetworkSide;
  readonly right: NetworkSide;
  /** Pulls the cable, or puts it back. */
  cable(state: 'up' | 'down'): Promise<void>;
}

const CABLE = 'mesh0';
const HOLD = ['sh', '-c', 'echo ready; exec cat'];

export async function networkPair(): Promise<NetworkPair> {
  const asUser = process.getuid?.() !== 0 || !(await succeeds('unshare', '--net', 'true'));
  const entering = asUser ? ['--user', '--preserve-credentials'] : [];
  const inside = (holder: ChildProcess, ...args: string[]): [string, string[]] => [
    'nsenter',
    ['--target', String(holder.pid), ...entering, '--net', ...args],
  ];

  const first = await hold('unshare', [...(asUser ? ['--user', '--map-root-user'] : []), '--net', ...HOLD]);
  // Made from within the first, so that both belong to one user namespace and a cable may join them.
  const second = await hold(...inside(first, 'unshare', '--net', ...HOLD));
  const close = async (): Promise<void> => {
    await Promise.all([first, second].map(release));
  };
  const side = (holder: ChildProcess, address: string): NetworkSide => ({
    address,
    command: (...args) => inside(holder, ...args),
  });
  const left = side(first, '10.77.0.1');
  const right = side(second, '10.77.0.2');
  const ip = (at: NetworkSide, ...args: string[]): Promise<unknown> => run(...at.command('ip', ...args));

  try {
    await ip(left, 'link', 'add', CABLE, 'type', 'veth', 'peer', 'name', CABLE, 'netns', String(second.pid));
    for (const at of [left, right]) {
      await ip(at, 'address', 'add', `${at.address}/24`, 'dev', CABLE);
      await ip(at, 'link', 'set', 'lo', 'up');
      await ip(at, 'link', 'set', CABLE, 'up');
    }
  } catch (error) {
    await close();
    throw new Error(
      'No cable could be laid between two network namespaces: `ip` (Debian: iproute2) and root are needed.',
      {
        cause: error,
      },
    );
  }
  return {
    left,
    right,
    cable: async (state) => void (await ip(right, 'link', 'set', CABLE, state)),
    [Symbol.asyncDispose]: close,
  };
}

/** Runs one of our TypeScript files in a process of its own: `[command, args]`, to be wrapped by `NetworkSide.command`. */
export function typescript(file: string, ...args: string[]): [string, ...string[]] {
  return [process.execPath, '--require', join(__dirname, 'typescript.js'), file, ...args];
}

async function hold(command: string, args: string[]): Promise<ChildProcess> {
  const options: SpawnOptions = { stdio: ['pipe', 'pipe', 'pipe'] };
  const holder = spawn(command, args, options);
  let complaint = '';
  holder.stderr?.on('data', (bytes: Buffer) => (complaint += bytes.toString()));
  const ended = once(holder, 'exit').then(() => {
    throw new Error(`A network namespace could not be made by ${command} ${args.join(' ')}: ${complaint.trim()}`);
  });
  await Promise.race([once(holder.stdout!, 'data'), ended]);
  ended.catch(() => undefined); // From here on its end is the teardown.
  return holder;
}

async function release(holder: ChildProcess): Promise<void> {
  if (holder.exitCode !== null || holder.signalCode !== null) return;
  const ended = once(holder, 'exit');
  holder.stdin?.end();
  await ended;
}

async function succeeds(command: string, ...args: string[]): Promise<boolean> {
  return run(command, args).then(
    () => true,
    () => false,
  );
}
