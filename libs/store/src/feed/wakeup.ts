import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { beginning, parsePgSnapshot, type Snapshot } from '@pgmesh/core';
import { Client } from 'pg';
import { connectionConfig, sqlState } from '../database';
import { isShapeChange, type Shapes } from '../shapes';
import { windowCondition } from './window-query';

/** Milliseconds between looks while changes come, while a transaction from before the arming is open, and where polling is all there is. */
const pause = { busy: 3, busyMost: 100, openMost: 100, pollLeast: 10, pollMost: 100, idle: 5_000, away: 1_000 };

/**
 * Tells when there is something new in the feed.
 *
 * While the reader sleeps it has armed a flag, for twice as long as it will sleep; the capture trigger notifies only then. A transaction that looked at the flag
 * before it was armed and commits afterwards notifies nobody: so the reader looks again after arming, and goes on looking
 * while any transaction that was open then still is. NOTIFY is not used where two-phase commit is allowed, for it makes PREPARE
 * TRANSACTION fail (trap 34): there the reader looks whether any transaction id was assigned, without touching a table.
 */
export class Wakeup {
  private readonly listeners = new Set<() => void>();
  private client: Client | null = null;
  private running: Promise<void> | null = null;
  private stopping = new AbortController();
  private bell: (() => void) | null = null;
  /** Settles when the connection is gone. */
  private lost: Promise<void> = Promise.resolve();
  private last: Snapshot = beginning;

  constructor(
    private readonly url: string,
    private readonly shapes: Shapes,
    /** Called when the database was lost or is back. */
    private readonly away: (error: Error | null) => void,
  ) {}

  listen(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  start(): void {
    this.running ??= this.run();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    this.bell?.();
    await this.running;
  }

  /** Tells the listeners at once: a window was applied in this process. */
  ring(): void {
    for (const listener of this.listeners) listener();
  }

  private async run(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      try {
        const notifies = await this.connect();
        this.away(null);
        await (notifies ? this.watch() : this.poll());
      } catch (error) {
        if (this.stopping.signal.aborted) break;
        // A table that is shared no more is a reason to look at what is, not a sign that the database is away.
        if (isShapeChange(sqlState(error), String(error))) await this.shapes.refresh().catch(this.away);
        else this.away(error as Error);
      } finally {
        await this.disconnect();
      }
      await this.rest(pause.away);
    }
  }

  /** Whether NOTIFY may be used. */
  private async connect(): Promise<boolean> {
    const client = new Client(
      connectionConfig(this.url, {
        plan_cache_mode: 'force_generic_plan',
        enable_seqscan: 'off',
        synchronous_commit: 'off',
      }),
    );
    this.client = client;
    this.lost = new Promise((resolve) => {
      const lost = () => {
        resolve();
        this.bell?.();
      };
      client.on('error', lost).on('end', lost);
    });
    client.on('notification', () => this.bell?.());
    await client.connect();
    const { rows } = await client.query<{ prepared: boolean }>(
      `SELECT current_setting('max_prepared_transactions')::int > 0 AS prepared, setval('p2p.wakeup', 1)`,
    );
    if (!rows[0]!.prepared) await client.query('LISTEN p2p');
    return !rows[0]!.prepared;
  }

  /** Lays the flag down, if the connection still answers; a connection that was lost in mid-query never would. */
  private async disconnect(): Promise<void> {
    const client = this.client;
    this.client = null;
    if (!client) return;
    const farewell = client.query(`SELECT setval('p2p.wakeup', 1)`).then(() => client.end());
    await Promise.race([farewell.catch(() => undefined), this.lost, sleep(pause.away, undefined, { ref: false })]);
    (client as Client & { connection: { stream: Socket } }).connection.stream.destroy();
  }

  private async watch(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      // Links that are busy look by themselves; these looks are for those that have just come to rest.
      for (let wait = pause.busy; await this.look(); wait = Math.min(wait * 1.5, pause.busyMost)) await this.rest(wait);
      await this.query(`SELECT setval('p2p.wakeup', p2p.clock() + ${2_000 * pause.idle})`);
      const quiet = !(await this.look()) && (await this.outlastOpen());
      // Told first: the flag's own WAL would have to be flushed before anything is told of what was written by then.
      if (quiet && (await this.rest(pause.idle))) this.ring();
      await this.query(`SELECT setval('p2p.wakeup', 1)`);
    }
  }

  /** Looks on until the transactions that were open at the last look have ended. False when news came meanwhile. */
  private async outlastOpen(): Promise<boolean> {
    const open = new Set(this.last.xip);
    for (let wait = pause.busy; open.size > 0; wait = Math.min(wait * 1.5, pause.openMost)) {
      if (await this.rest(wait)) {
        this.ring();
        return false;
      }
      if (this.stopping.signal.aborted || (await this.look())) return false;
      for (const xid of open) if (!this.last.xip.includes(xid)) open.delete(xid);
    }
    return true;
  }

  private async poll(): Promise<void> {
    for (let wait = pause.pollLeast; !this.stopping.signal.aborted;) {
      wait = (await this.look()) ? pause.pollLeast : Math.min(wait * 1.2, pause.pollMost);
      await this.rest(wait);
    }
  }

  /** Whether anything came since the last look; if so, the listeners know. */
  private async look(): Promise<boolean> {
    const { rows } = await this.query('SELECT pg_current_snapshot()::text AS snapshot');
    const present = parsePgSnapshot((rows[0] as { snapshot: string }).snapshot);
    const { xmax, xip } = this.last;
    if (present.xmax === xmax && present.xip.length === xip.length) return false;
    const args = { from: '$1::xid8', below: null, xip: '$2::xid8[]', except: `'{}'::text[]` };
    const some = this.shapes.all.map((shape) => `EXISTS (SELECT FROM ${windowCondition(shape, 'v.xid', args)} AS n)`);
    const news =
      some.length === 0
        ? []
        : (await this.query(`SELECT ${some.join(' OR ')} AS news`, [String(xmax), xip.map(String)])).rows;
    this.last = present;
    const found = (news[0] as { news: boolean } | undefined)?.news === true;
    if (found) this.ring();
    return found;
  }

  private query(text: string, values: unknown[] = []) {
    if (!this.client) throw new Error('The connection that listens was closed');
    const lost = this.lost.then(() => {
      throw new Error('The connection that listens was lost');
    });
    return Promise.race([this.client.query(text, values), lost]);
  }

  /** Waits; true when the bell rang first. */
  private async rest(milliseconds: number): Promise<boolean> {
    const timer = new AbortController();
    const rung = new Promise<true>((resolve) => (this.bell = () => resolve(true)));
    const signal = AbortSignal.any([timer.signal, this.stopping.signal]);
    const elapsed = sleep(milliseconds, false as const, { signal }).catch(() => false as const);
    const result = await Promise.race([rung, elapsed]);
    this.bell = null;
    timer.abort();
    return result;
  }
}
