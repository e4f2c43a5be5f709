import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import type { Account } from './account';
import { EmbeddedFailure } from './failure';
import { endWithParent, letGo } from './parent-exit';
import { processOf } from './process';

/**
 * Starts a program of the server. In a session of its own, so that the terminal's Ctrl-C reaches the parent alone, which
 * stops its servers in order. With an environment of its own, because whoever is superuser in the database may read it,
 * and the parent's holds secrets.
 */
export async function run(
  account: Account,
  program: string,
  args: readonly string[],
  stdio: StdioOptions,
): Promise<ChildProcess> {
  const [command = program, ...rest] = [...account.prefix, program, ...args];
  const child = spawn(command, rest, {
    stdio,
    detached: true,
    windowsHide: true,
    cwd: '/',
    env: { PATH: process.env.PATH, SystemRoot: process.env.SystemRoot, TZ: 'UTC' },
    ...(account.uid === undefined ? {} : { uid: account.uid, gid: account.gid }),
  });
  try {
    await once(child, 'spawn');
  } catch (cause) {
    throw new EmbeddedFailure(
      'EMBEDDED_UNSUPPORTED',
      `Cannot run ${program}. The embedded PostgreSQL needs glibc (Alpine has none)` +
        (account.uid === undefined ? '.' : `, and a path that user ${account.uid} may enter.`),
      { cause },
    );
  }
  if (child.pid !== undefined) {
    const charge = processOf(child.pid);
    endWithParent(charge);
    child.once('exit', () => letGo(charge));
  }
  return child;
}
