import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { Random } from '../convergence/random';
import type { Site } from '../support/site';

/** A write that a site acknowledged: the version that it made of the row. */
export interface Acknowledged {
  readonly site: string;
  readonly table: string;
  readonly key: string;
  readonly stamp: number;
  readonly origin: string;
  /** What the row says of it; null when it was deleted. */
  readonly token: string | null;
  /** When the commit was acknowledged, in ms since 1970. */
  readonly at: number;
}

interface Write {
  readonly table: string;
  readonly key: string;
  readonly token: string | null;
  readonly sql: string;
  readonly values: readonly unknown[];
}

const pause = 10;

/** One writer at one site, until it is told to stop. Connections that break are made anew; what was not acknowledged does not count. */
export class Writer {
  readonly acknowledged: Acknowledged[] = [];
  /** The rows that it has tried to delete: `table key`. */
  readonly deleted = new Set<string>();
  private count = 0;

  constructor(
    private readonly site: Site,
    /** Its own name, which its rows bear. */
    private readonly name: string,
    private readonly random: Random,
  ) {}

  async run(until: AbortSignal): Promise<void> {
    let client: Client | null = null;
    while (!until.aborted) {
      try {
        client ??= await this.site.connect();
        await this.transaction(client);
        await sleep(pause);
      } catch (error) {
        if (refusals.has(codeOf(error))) {
          await client!.query('ROLLBACK').catch(() => undefined);
          continue;
        }
        if (!isAway(error)) throw error;
        await client?.end().catch(() => undefined);
        client = null;
        await sleep(100);
      }
    }
    await client?.end().catch(() => undefined);
  }

  private async transaction(client: Client): Promise<void> {
    const writes = this.random.times(1, 3, () => this.write());
    await client.query('BEGIN');
    const made: Omit<Acknowledged, 'at'>[] = [];
    for (const { table, key, token, sql, values } of writes) {
      if (token === null) this.deleted.add(`${table} ${key}`);
      if ((await client.query(sql, [...values])).rowCount === 0) continue;
      const version = await versionOf(client, table, key);
      made.push({ site: this.site.id, table, key, token, ...version });
    }
    await client.query('COMMIT');
    const at = Date.now();
    this.acknowledged.push(...made.map((one) => ({ ...one, at })));
  }

  private write(): Write {
    const { random, name } = this;
    const token = `${name}-${++this.count}`;
    const own = `${name}-${random.between(1, 60)}`;
    const id = `${random.between(1, 6)}`;
    const deletion = (table: string, key: string): Write => ({
      table,
      key,
      token: null,
      sql: `DELETE FROM ${table} WHERE id = $1`,
      values: [key],
    });
    const put = (table: string, key: string, column: string, value: unknown): Write => ({
      table,
      key,
      token,
      sql: `INSERT INTO ${table} (id, token, ${column}) VALUES ($1, $2, $3)
        ON CONFLICT (id) DO UPDATE SET token = excluded.token, ${column} = excluded.${column}`,
      values: [key, token, value],
    });
    const kinds: readonly (() => Write)[] = [
      () => put('entry', `${name}-${this.count}`, 'payload', random.hex(random.between(1, 400))),
      () => put('entry', `${name}-${this.count}`, 'payload', null),
      () => deletion('entry', `${name}-${random.between(1, this.count)}`),
      () => put('hot', id, 'n', random.between(0, 9)),
      () => put('hot', id, 'n', random.between(0, 9)),
      () => deletion('hot', id),
      () => put('account', own, 'mail', `m${random.between(1, 40)}`),
      () => deletion('account', own),
      () => ({
        table: 'team',
        key: id,
        token,
        sql: 'INSERT INTO team VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET token = excluded.token',
        values: [id, token],
      }),
      () => deletion('team', id),
      () => put('player', own, 'team', random.between(1, 6)),
    ];
    return random.pick(kinds)();
  }
}

async function versionOf(client: Client, table: string, key: string): Promise<{ stamp: number; origin: string }> {
  const { rows: tracked } = await client.query<{ id: number }>('SELECT id FROM p2p.tracked_table WHERE name = $1', [
    `public.${table}`,
  ]);
  const { rows } = await client.query<{ stamp: string; origin: string }>(
    `SELECT stamp, origin FROM p2p.meta_${tracked[0]!.id} WHERE key1::text = $1`,
    [key],
  );
  if (!rows[0]) throw new Error(`A write of ${table} ${key} has left no version`);
  return { stamp: Number(rows[0].stamp), origin: rows[0].origin };
}

/** A key that is taken, a parent that is not there, a deadlock: the user is told, and nothing has happened. */
const refusals = new Set(['23505', '23503', '40001', '40P01', '55P03']);

function codeOf(error: unknown): string {
  return (error as { code?: string }).code ?? '';
}

/** The server is down, starts, or has ended the session; what it said last may be cut off. */
function isAway(error: unknown): boolean {
  const code = codeOf(error);
  return /^(57P0.|08...|ECONN.*|EPIPE|25006)$/.test(code) || /Connection terminated|not queryable/.test(String(error));
}
