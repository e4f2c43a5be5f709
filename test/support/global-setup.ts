import { readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EmbeddedFailure, EmbeddedServer } from '../../libs/store/src/embedded';
import { errorCode } from '../../libs/store/src/embedded/failure';
import { startServer, TEMPORARY, type TestServer } from './database';

declare global {
  /** The run's server, from global-setup to global-teardown, which jest calls in one process. */
  var pgmeshTestServer: TestServer | undefined;
}

const HOUR_MS = 3_600_000;
/** Another run is removing it at this moment, or it is another user's. */
const GONE_OR_FOREIGN = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM']);

/** One server for the whole run; each test makes its databases there. None when the environment names one. */
export default async function globalSetup(): Promise<void> {
  if (process.env.PGMESH_TEST_URL) return;
  await clearLeftovers();
  globalThis.pgmeshTestServer = await startServer();
  process.env.PGMESH_TEST_URL = globalThis.pgmeshTestServer.url();
}

/** Servers and directories of runs that were killed. Those of a run that goes on are claimed by its processes. */
async function clearLeftovers(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(TEMPORARY)) continue;
    const directory = join(tmpdir(), name);
    try {
      let left = false;
      for (const data of await readdir(directory)) {
        if (await EmbeddedServer.stopLeftBehind(join(directory, data))) left = true;
      }
      // A directory without a server may be another run's, about to make one.
      const { mtimeMs } = await stat(directory);
      if (left || Date.now() - mtimeMs > HOUR_MS) await rm(directory, { recursive: true, force: true });
    } catch (error) {
      if (!(error instanceof EmbeddedFailure) && !GONE_OR_FOREIGN.has(errorCode(error))) throw error;
    }
  }
}
