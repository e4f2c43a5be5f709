import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { EmbeddedFailure } from './failure';

/** How the server's programs are run: what stands before their name, and the user they get. */
export interface Account {
  prefix: string[];
  uid?: number;
  gid?: number;
}

/** The first ordinary user of most systems; no account of that number has to exist. */
const ORDINARY = 1000;
const UNSHARE = ['unshare', '--user', `--map-user=${ORDINARY}`, `--map-group=${ORDINARY}`];

/**
 * PostgreSQL refuses to run as root. A user namespace in which root bears another number satisfies it, with no account
 * made and no file given away; where the system forbids that (most containers), it runs as an ordinary user.
 */
export function serverAccount(dataDir: string): Account {
  if (process.getuid?.() !== 0) return { prefix: [] };
  const present = statSync(dataDir, { throwIfNoEntry: false });
  if (present && present.uid !== 0) return { prefix: [], uid: present.uid, gid: present.gid };
  const [command = '', ...args] = [...UNSHARE, 'true'];
  if (spawnSync(command, args, { stdio: 'ignore' }).status === 0) return { prefix: UNSHARE };
  if (!present) return { prefix: [], uid: ORDINARY, gid: ORDINARY };
  throw new EmbeddedFailure(
    'EMBEDDED_UNSUPPORTED',
    `${dataDir} belongs to root, as whom PostgreSQL does not run, and this system allows no user namespaces. ` +
      `Run as another user, or give the directory away: chown -R ${ORDINARY}:${ORDINARY} '${dataDir}'.`,
  );
}
