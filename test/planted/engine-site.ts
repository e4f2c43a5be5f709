import { type FeedRequest, nextRequest, parseRules } from '@pgmesh/core';
import { decodeFrames, encodeFrame, type Frame, Problem } from '@pgmesh/wire';
import type { Pool, PoolClient } from 'pg';
import { openFor, readerOf } from '../../libs/sync/src/offer';
import type { TestDatabase } from '../support/database';
import type { Expected, Name, Row } from './engine-history';
import type { Engine } from './planted-engine';

export const tables = ['l', 'f'] as const;

const schema = `
  CREATE TABLE l (id text PRIMARY KEY, n numeric, note text);
  CREATE TABLE f (LIKE l INCLUDING ALL);
  CREATE TABLE pair_a (id int PRIMARY KEY, n int);
  CREATE TABLE pair_b (id int PRIMARY KEY, n int);`;

/** The clock is what the engine's own says, moved, or stands still, so that writes of several nodes have one stamp. */
const clock = `
  CREATE TABLE public.shift (by bigint, frozen bigint);
  INSERT INTO public.shift VALUES (0);
  ALTER FUNCTION p2p.clock() RENAME TO sound_clock;
  CREATE FUNCTION p2p.clock() RETURNS bigint LANGUAGE sql VOLATILE AS
    $$ SELECT coalesce(frozen, p2p.sound_clock() + by) FROM public.shift $$;`;

/** Under both rules that choose a version by its stamp: the visible one may be the highest of the set, and the lowest. */
const rules = parseRules('l=last-write-wins, f=first-write-wins');

type Store = Awaited<ReturnType<Engine['PostgresStore']['open']>>;

/** What a node shows of a table: its rows, and the name of each row's visible version. */
export interface View {
  readonly rows: ReadonlyMap<string, string>;
  readonly names: ReadonlyMap<string, Name & { readonly siblings: number }>;
}

/** A node of the scenario: a database and a store, and the transactions that somebody has open there. */
export class Site implements AsyncDisposable {
  readonly open: PoolClient[] = [];

  private constructor(
    readonly id: string,
    private readonly db: TestDatabase,
    readonly store: Store,
  ) {}

  static async start({ PostgresStore }: Engine, id: string, db: TestDatabase): Promise<Site> {
    await db.sql('DROP SCHEMA IF EXISTS p2p CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public');
    await db.sql(schema + (id === 'a' ? 'INSERT INTO pair_a VALUES (1, 0); INSERT INTO pair_b VALUES (1, 0);' : ''));
    if (!rules.ok) throw new Error(rules.problems.join('\n'));
    const store = await PostgresStore.open({ url: db.url, nodeId: id, tables: ['*'], rules: rules.rules });
    await db.sql(clock);
    return new Site(id, db, store);
  }

  sql: TestDatabase['sql'] = (text, params) => this.db.sql(text, params);

  async begin(): Promise<PoolClient> {
    const client = await this.db.pool.connect();
    await client.query(`BEGIN; SET LOCAL lock_timeout = '5s'; SELECT p2p.clock()`);
    return client;
  }

  /** The connection that applies windows, as whoever comes after it in a pooler gets it. */
  async lent<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    const { merges } = (this.store as unknown as { connections: { merges: Pool } }).connections;
    const client = await merges.connect();
    try {
      return await work(client);
    } finally {
      client.release();
    }
  }

  async now(): Promise<number> {
    return Number((await this.sql<{ now: string }>('SELECT p2p.clock() AS now'))[0]!.now);
  }

  async view(): Promise<View> {
    const rows = new Map<string, string>();
    const names = new Map<string, Name & { siblings: number }>();
    const lines = await this.sql<{
      key: string;
      row: string | null;
      stamp: string | null;
      origin: string;
      siblings: number;
    }>(
      tables
        .map(
          (
            table,
          ) => `SELECT '${table}/' || coalesce(d.id, m.key1) AS key, m.stamp, m.origin, coalesce(jsonb_array_length(m.siblings), 0) AS siblings,
            CASE WHEN d.id IS NOT NULL THEN json_build_object('id', d.id, 'n', d.n::text, 'note', d.note)::text END AS row
          FROM ${table} AS d FULL JOIN ${this.store.find(table)!.meta} AS m ON m.key1 = d.id`,
        )
        .join(' UNION ALL '),
    );
    for (const { key, row, stamp, origin, siblings } of lines) {
      if (row !== null) rows.set(key, row);
      if (stamp !== null) names.set(key, { stamp: Number(stamp), origin, siblings });
    }
    return { rows, names };
  }

  /** All versions of all rows as they lie here, lowest first; and which of them is in the metadata, not among the siblings. */
  async versions(): Promise<Map<string, { readonly all: Expected[]; readonly visible: Expected }>> {
    const { rows } = await this.view();
    const found = new Map<string, { all: Expected[]; visible: Expected }>();
    for (const table of tables) {
      const lines = await this.sql<Stored & { key: string; siblings: Stored[] | null }>(
        `SELECT key1 AS key, stamp::float8, origin, past, deleted, siblings FROM ${this.store.find(table)!.meta}`,
      );
      for (const { key, siblings, ...main } of lines) {
        const image = JSON.parse(rows.get(`${table}/${key}`) ?? 'null') as Row;
        // A row that is there although its version says that it is deleted stays visible to the comparison.
        const visible = { ...version({ ...main, deleted: image === null, image }) };
        const all = [visible, ...(siblings ?? []).map(version)];
        all.sort((a, b) => a.stamp - b.stamp || (a.origin < b.origin ? -1 : 1));
        found.set(`${table}/${key}`, { all, visible });
      }
    }
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.open.splice(0)) client.release(true);
    await this.store.close();
  }
}

interface Stored extends Name {
  readonly past: Record<string, number> | null;
  readonly deleted: boolean;
  readonly image?: Row;
}

function version({ stamp, origin, past, deleted, image }: Stored): Expected {
  return { stamp, origin, past: past ?? {}, row: deleted ? null : image! };
}

/** Something that happens at the source while a window is being read from it. */
export type Interlude = () => Promise<void>;

/**
 * Reads a feed to its end, with all that nodes tell each other over the network.
 * @returns the rows that travelled
 */
export async function pull(
  from: Site,
  to: Site,
  limit: number,
  opened: () => void = () => undefined,
  interlude: Interlude = async () => undefined,
): Promise<number> {
  let rows = 0;
  let last: FeedRequest['kind'] | null = null;
  for (let step = 0; step < 200; step++) {
    const { epoch, nodeId } = from.store.identity;
    const request = nextRequest(await to.store.inbox.position(nodeId), epoch, from.store.tables(), last);
    const [knowledge, seen] = [await to.store.inbox.knowledge(), await to.store.inbox.seen()];
    const told = { nodeId: to.id, knowledge, seen, links: [] };
    const reader = await readerOf(from.store, told, to.store.identity.epoch);
    const window = await openFor(from.store, reader, request!, limit);
    opened();
    const frames = encoded(window.frames(), interlude);
    const applied = await to.store.inbox.apply(decodeFrames(frames));
    if (applied.outcome !== 'applied') throw new Problem('gap', `A window of ${from.id} did not connect at ${to.id}`);
    rows += applied.rows;
    last = request!.kind;
    if (request!.kind === 'window' && !window.head.more) return rows;
  }
  throw new Error(`${to.id} came to no end with the feed of ${from.id}`);
}

async function* encoded(frames: AsyncIterable<Frame>, interlude: Interlude): AsyncGenerator<Uint8Array> {
  for await (const frame of frames) {
    yield encodeFrame(frame);
    if (frame.type === 'rows') await interlude();
  }
}
