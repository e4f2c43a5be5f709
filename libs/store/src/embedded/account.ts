import { spawnSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { userInfo } from 'node:os';
import { EmbeddedFailure, errorCode } from './failure';

/** How the server's programs are run: what stands before their name, and the user they get. */
export interface Account {
  prefix: string[];
  uid?: number;
  gid?: number;
}

interface NamedUser {
  name: string;
  uid: number;
  gid: number;
}

/**
 * PostgreSQL refuses to run as root, and initdb as a user without a name (a container's `--user 1234`). A user namespace
 * in which we bear the number of an ordinary user satisfies both, with no account made and no file given away. Where the
 * system forbids that (most containers), root runs it as that ordinary user.
 */
export function serverAccount(dataDir: string): Account {
  const uid = process.getuid?.();
  if (uid === undefined || (uid !== 0 && hasName())) return { prefix: [] };

  const present = statSync(dataDir, { throwIfNoEntry: false });
  if (uid === 0 && present && present.uid !== 0) return { prefix: [], uid: present.uid, gid: present.gid };

  const ordinary = ordinaryUser();
  const prefix = ['unshare', '--user', `--map-user=${ordinary.uid}`, `--map-group=${ordinary.gid}`];
  if (spawnSync(prefix[0]!, [...prefix.slice(1), 'true'], { stdio: 'ignore' }).status === 0) return { prefix };
  if (uid === 0 && !present) return { prefix: [], uid: ordinary.uid, gid: ordinary.gid };
  throw new EmbeddedFailure(
    'EMBEDDED_UNSUPPORTED',
    uid === 0
      ? `${dataDir} belongs to root, as whom PostgreSQL does not run, and this system allows no user namespaces. ` +
          `Run as another user, or give the directory away: chown -R ${ordinary.uid}:${ordinary.gid} '${dataDir}'.`
      : `User ${uid} has no entry in /etc/passwd, which PostgreSQL asks for, and this system allows no user ` +
          'namespaces. Add the entry, or run as a user that has one.',
  );
}

/** Asked of the system, not of /etc/passwd: the name may come from a directory service. */
function hasName(): boolean {
  try {
    return userInfo().username !== '';
  } catch (error) {
    if (errorCode(error) === 'ERR_SYSTEM_ERROR') return false;
    throw error;
  }
}

function namedUsers(): NamedUser[] {
  let text: string;
  try {
    text = readFileSync('/etc/passwd', 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
  return text
    .split('\n')
    .map((line) => line.split(':'))
    .filter((fields) => fields.length >= 4)
    .map(([name = '', , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) }));
}

/** The first ordinary user of most systems (`node` in Node's images), else the one that is nearly always there. */
function ordinaryUser(): NamedUser {
  const users = namedUsers();
  return (
    users.find((user) => user.uid === 1000) ??
    users.find((user) => user.name === 'nobody') ??
    users.find((user) => user.uid !== 0) ?? { name: '', uid: 1000, gid: 1000 }
  );
}
