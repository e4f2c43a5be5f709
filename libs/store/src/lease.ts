import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { connectionConfig, isAway } from './database';

export interface LeaseOptions {
  /** Where the other processes of this node reach this one; null when they cannot. */
  readonly url: string | null;
  /** Told who leads instead, each time that is another: its address, or null when it has none. */
  readonly following: (leader: string | null) => void;
  /** Ends the waiting. */
  readonly signal: AbortSignal;
}

interface Held {
  holder: string;
  url: string | null;
  generation: number;
  expired: boolean;
}

/** Milliseconds between two renewals, and after how many without one another process takes over. */
const beat = 1_000;
const expiry = 5_000;

/** A process that may come to lead. */
export const newHolder = (): string => randomBytes(6).toString('hex');

/** The name of all its connections, so that who takes over can end them. */
export const sessionName = (holder: string): string => `pgmesh ${holder}`;

/**
 * Which of the processes over one database leads: it alone exchanges with peers, and looks after the tables. The lease is a row in the database, by the
 * database's own clock. It is free at once when its holder's connection has ended, as that of a process that was killed has; and after `expiry`
 * when its holder stands still. Who takes it over from one that stands still ends all that one's connections: a transaction that was under way there is
 * rolled back, and when it wakes it learns that it no longer leads (trap 33).
 */
export class Lease {
  /** Resolves when another process has taken over. */
  readonly lost: Promise<void>;
  private lose!: () => void;
  /** Rung when the connection has ended. */
  private bell: () => void = () => undefined;
  private readonly ending = new AbortController();
  private renewing: Promise<void> = Promise.resolve();
  private renewedAt = performance.now();

  private constructor(
    private readonly url: string,
    private readonly own: string | null,
    readonly holder: string,
    private readonly generation: number,
    private client: Client | null,
  ) {
    this.lost = new Promise((resolve) => (this.lose = resolve));
    client?.once('end', () => this.bell());
    this.renewing = this.renew();
  }

  /**
   * Waits until this process leads.
   * @throws Error of PostgreSQL when the database is away; the signal's reason when that was aborted
   */
  static async take(url: string, holder: string, { url: own, following, signal }: LeaseOptions): Promise<Lease> {
    const client = await connect(url, holder);
    try {
      let told: string | null = null;
      for (;;) {
        signal.throwIfAborted();
        const held = await tryToTake(client, holder, own);
        if (held.holder === holder) return new Lease(url, own, holder, held.generation, client);
        const leader = `${held.holder} ${held.url}`;
        if (leader !== told) following(held.url);
        told = leader;
        await sleep(beat, undefined, { signal });
      }
    } catch (error) {
      await client.end().catch(() => undefined); // what went wrong before is thrown
      throw error;
    }
  }

  /**
   * Whether nobody else can have taken over, by this process's own clock, which went on while it stood still. A database that is away renews nothing.
   */
  get isHeld(): boolean {
    return performance.now() - this.renewedAt < expiry;
  }

  /** Leaves the lease to whoever wants it. */
  async release(): Promise<void> {
    this.ending.abort();
    await this.renewing;
    const { client } = this;
    this.client = null;
    // With the connection the lease is free; a server that is away has ended it already.
    await client?.end().catch(() => undefined);
  }

  /** A database that is away takes the lease from nobody: nobody else reaches it. */
  private async renew(): Promise<void> {
    const { signal } = this.ending;
    while (!signal.aborted) {
      await this.rest();
      if (signal.aborted) return;
      try {
        this.client ??= await this.reconnect();
        if (await this.isRenewed(this.client)) continue;
        this.lose();
        return;
      } catch {
        // Away, or it has ended this connection; the next look, on another one, tells which.
        await this.client?.end().catch(() => undefined);
        this.client = null;
        await sleep(beat / 4, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  private async reconnect(): Promise<Client> {
    const client = await connect(this.url, this.holder);
    client.once('end', () => this.bell());
    return client;
  }

  /** Until the next renewal is due, or the connection has ended. */
  private async rest(): Promise<void> {
    const over = new AbortController();
    this.bell = () => over.abort();
    const signal = AbortSignal.any([over.signal, this.ending.signal]);
    await sleep(beat, undefined, { signal }).catch(() => undefined); // woken
  }

  private async isRenewed(client: Client): Promise<boolean> {
    const asked = performance.now();
    const { rowCount } = await client.query(
      `UPDATE p2p.lease AS l SET renewed_at = clock_timestamp(), url = $3, pid = a.pid, session_start = a.backend_start
       FROM pg_stat_activity AS a WHERE a.pid = pg_backend_pid() AND l.holder = $1 AND l.generation = $2`,
      [this.holder, this.generation, this.own],
    );
    if (rowCount === 1) this.renewedAt = asked;
    return rowCount === 1;
  }
}

async function connect(url: string, holder: string): Promise<Client> {
  const client = new Client(connectionConfig(url, { application_name: sessionName(holder) }));
  client.on('error', () => undefined); // its end is looked for
  await client.connect();
  return client;
}

/** Who holds the lease now: us, if it was free. */
async function tryToTake(client: Client, holder: string, url: string | null): Promise<Held> {
  await client.query('BEGIN');
  try {
    await client.query(`INSERT INTO p2p.lease (only_one) VALUES (true) ON CONFLICT DO NOTHING`);
    const { rows } = await client.query<Held & { alive: boolean }>(
      `SELECT l.holder, l.url, l.generation, l.renewed_at < clock_timestamp() - make_interval(secs => $1) AS expired,
         EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.pid = l.pid AND a.backend_start = l.session_start) AS alive
       FROM p2p.lease AS l FOR UPDATE`,
      [expiry / 1000],
    );
    const { alive, ...held } = rows[0]!;
    if (alive && !held.expired) {
      await client.query('COMMIT');
      return held;
    }
    await client.query(
      `UPDATE p2p.lease AS l SET holder = $1, url = $2, generation = l.generation + 1, renewed_at = clock_timestamp(), taken_at = clock_timestamp(),
         pid = a.pid, session_start = a.backend_start FROM pg_stat_activity AS a WHERE a.pid = pg_backend_pid()`,
      [holder, url],
    );
    await client.query('COMMIT');
    await endSessions(client, held.holder);
    return { holder, url, generation: held.generation + 1, expired: false };
  } catch (error) {
    if (!isAway(error)) await client.query('ROLLBACK');
    throw error;
  }
}

/** All that a process does that led before. It may stand still in the midst of a merge. */
async function endSessions(client: Client, holder: string | null): Promise<void> {
  if (holder === null) return;
  await client.query(
    `SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a
     WHERE a.datname = current_database() AND a.application_name = $1 AND a.usename = current_user`,
    [sessionName(holder)],
  );
}
