import { mkdirSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { Client, escapeIdentifier } from 'pg';
import { serverAccount, type Account } from './account';
import { locateBinaries, type Binaries } from './binaries';
import { Claim } from './claim';
import { clusterExists, knownPassword, makeCluster, SUPERUSER } from './cluster';
import { EmbeddedFailure, errorCode } from './failure';
import { findLeftBehind } from './left-behind';
import { ServerLog } from './log';
import { endWithParent, letGo } from './parent-exit';
import { choosePort, takesAnyPort } from './port';
import { halt, launch, runsWith, serverArguments, type Postmaster } from './postmaster';

export interface EmbeddedServerOptions {
  /** Where the database lives. Its password, and who uses it, are in files beside it with the same name. */
  dataDir: string;
  /** The wanted port; without one, any free port. */
  port?: number;
  /** Take any free port when the wanted one is taken. */
  portFallback?: boolean;
  /** A loopback address; 127.0.0.1 unless given. */
  host?: string;
  /** The superuser's; made up for a new database unless given. */
  password?: string;
  /** Settings of postgresql.conf, for this start. */
  settings?: Record<string, string>;
  /** Told what is being done when it takes a moment. */
  onProgress?: (what: string) => void;
}

/** A port found free can be taken before the server has it, by a neighbour that starts at the same moment. */
const PORT_ATTEMPTS = 5;
const LOOPBACK = '127.0.0.1';
const DUPLICATE_DATABASE = ['42P04', '23505'];

/** A cluster on this machine, with all that is needed to run a server over it. */
interface Site {
  dataDir: string;
  host: string;
  password: string;
  binaries: Binaries;
  account: Account;
  log: ServerLog;
}

/** A PostgreSQL server of our own on loopback, over a data directory that stays. */
export class EmbeddedServer implements AsyncDisposable {
  private stopping?: Promise<void>;

  private constructor(
    private readonly site: Site,
    private readonly postmaster: Postmaster,
    private readonly claim: Claim,
  ) {
    site.log.watch();
    endWithParent(postmaster);
  }

  /** Starts the server, making its database when there is none, or takes over one that a killed parent left running. */
  static async start(options: EmbeddedServerOptions): Promise<EmbeddedServer> {
    const dataDir = resolve(options.dataDir);
    mkdirSync(dirname(dataDir), { recursive: true });
    const claim = Claim.take(dataDir);
    try {
      const site = await openSite(options);
      return new EmbeddedServer(site, (await takeOver(site, options)) ?? (await startAnew(site, options)), claim);
    } catch (error) {
      claim.release();
      throw error;
    }
  }

  /** Stops the server that a killed parent left running, if there is one, without starting another. */
  static async stopLeftBehind(directory: string): Promise<boolean> {
    const dataDir = resolve(directory);
    if (!clusterExists(dataDir)) return false;
    const claim = Claim.take(dataDir);
    try {
      const left = await findLeftBehind(dataDir, serverUrl(LOOPBACK, knownPassword(dataDir)));
      if (left) await halt(locateBinaries(), dataDir, left);
      return left !== undefined;
    } finally {
      claim.release();
    }
  }

  get pid(): number {
    return this.postmaster.pid;
  }

  get port(): number {
    return this.postmaster.port;
  }

  get dataDir(): string {
    return this.site.dataDir;
  }

  url(database: string): string {
    return serverUrl(this.site.host, this.site.password)(this.port, database);
  }

  /** True when it was made, false when it was there. */
  async createDatabase(name: string): Promise<boolean> {
    const client = new Client(this.url('postgres'));
    await client.connect();
    try {
      await client.query(`CREATE DATABASE ${escapeIdentifier(name)}`);
      return true;
    } catch (error) {
      // The second is what the loser of two at once may get instead.
      if (DUPLICATE_DATABASE.includes(errorCode(error))) return false;
      throw error;
    } finally {
      await client.end();
    }
  }

  /** Ends all sessions, writes everything down and waits for the processes' end. */
  stop(): Promise<void> {
    this.stopping ??= halt(this.site.binaries, this.site.dataDir, this.postmaster).then(() => {
      letGo(this.postmaster);
      this.site.log.unwatch();
      this.claim.release();
    });
    return this.stopping;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** Finds the cluster, or makes it. */
async function openSite({ onProgress, ...options }: EmbeddedServerOptions): Promise<Site> {
  const { host = LOOPBACK } = options;
  requireLoopback(host);
  const dataDir = resolve(options.dataDir);
  const binaries = locateBinaries();
  const account = serverAccount(dataDir);
  const isNew = !clusterExists(dataDir);
  if (isNew) onProgress?.(`making a database in ${dataDir}`);
  const password = isNew
    ? await makeCluster(binaries, account, dataDir, options.password)
    : knownPassword(dataDir, options.password);
  return { dataDir, host, password, binaries, account, log: new ServerLog(dataDir) };
}

/** The server that was left running, if it is the one that would be started now; one that is not is stopped. */
async function takeOver(site: Site, options: EmbeddedServerOptions): Promise<Postmaster | undefined> {
  const { dataDir, host } = site;
  const left = await findLeftBehind(dataDir, serverUrl(host, site.password));
  if (!left) return undefined;
  const port = takesAnyPort(options) ? left.port : (options.port ?? left.port);
  const wanted = serverArguments({ dataDir, host, port, settings: options.settings ?? {} });
  if (left.answers && runsWith(dataDir, wanted)) {
    options.onProgress?.(`taking over the server left running in ${dataDir}, on port ${left.port}`);
    return left;
  }
  options.onProgress?.(`stopping the server left running in ${dataDir}`);
  await halt(site.binaries, dataDir, left);
  return undefined;
}

async function startAnew(site: Site, options: EmbeddedServerOptions): Promise<Postmaster> {
  const { dataDir, host, binaries, account, log } = site;
  options.onProgress?.(`starting the database in ${dataDir}`);
  for (let attempt = 1; ; attempt++) {
    const port = await choosePort(host, options);
    try {
      return await launch(binaries, account, { dataDir, host, port, settings: options.settings ?? {} }, log);
    } catch (error) {
      const again = errorCode(error) === 'EMBEDDED_PORT_TAKEN' && takesAnyPort(options);
      if (!again || attempt === PORT_ATTEMPTS) throw error;
    }
  }
}

function requireLoopback(host: string): void {
  if (/^127(\.\d{1,3}){3}$/.test(host)) return;
  throw new EmbeddedFailure(
    'EMBEDDED_UNSUPPORTED',
    `The embedded PostgreSQL serves loopback alone, not ${host}. Give an address of 127.0.0.0/8.`,
  );
}

function serverUrl(host: string, password: string) {
  return (port: number, database = 'postgres') =>
    `postgres://${SUPERUSER}:${encodeURIComponent(password)}@${host}:${port}/${encodeURIComponent(database)}`;
}
