import { PostgresStore } from '@pgmesh/store';
import { type Rules, rulesOf } from '@pgmesh/core';
import { Problem } from '@pgmesh/wire';
import { createDatabase, type TestDatabase } from '../support/database';
import { ddlOf } from './ddl';
import { type RuleChange, ruledBy, type Schema } from './schema';

/** What a site takes from the store. */
export interface Engine {
  readonly PostgresStore: typeof PostgresStore;
}

/** A write that a node has acknowledged: the version of a row, by its name. */
export interface Written {
  readonly table: string;
  /** As PostgreSQL prints it. */
  readonly key: readonly string[];
  readonly stamp: number;
  readonly origin: string;
}

/** A node of a generated history: its database, which goes from schema to schema, and the store on it. */
export class Site implements AsyncDisposable {
  /** What the store has reported besides. */
  readonly errors: Error[] = [];
  private opened: PostgresStore | null = null;
  private ruled: Schema | null = null;

  private constructor(
    readonly id: string,
    readonly db: TestDatabase,
    private readonly engine: Engine,
  ) {}

  static async create(id: string, engine: Engine = { PostgresStore }): Promise<Site> {
    return new Site(id, await createDatabase(), engine);
  }

  get store(): PostgresStore {
    if (!this.opened) throw new Error(`${this.id} has no schema yet`);
    return this.opened;
  }

  /** The schema with the rules that are in force here. */
  get schema(): Schema {
    if (!this.ruled) throw new Error(`${this.id} has no schema yet`);
    return this.ruled;
  }

  /** Begins anew with other tables. */
  async take(schema: Schema, place: number): Promise<void> {
    await this.opened?.close();
    await this.db.pool.query(`DROP SCHEMA IF EXISTS p2p CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public`);
    await this.db.pool.query(ddlOf(schema));
    this.ruled = schema;
    this.opened = await this.engine.PostgresStore.open({
      url: this.db.url,
      nodeId: this.id,
      tables: ['*'],
      priority: schema.priority[place]!,
      rules: rulesIn(schema),
      onError: (error) => this.errors.push(error),
    });
    const skew = schema.skew[place]!;
    if (skew === 0 && schema.grain === 1) return;
    await this.db.pool.query(
      `CREATE OR REPLACE FUNCTION p2p.clock() RETURNS bigint LANGUAGE sql VOLATILE AS $$
         SELECT (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000000)::pg_catalog.int8 / ${schema.grain} * ${schema.grain} + ${skew} $$`,
    );
  }

  /** Decides conflicts otherwise from now on. */
  async follow(schema: Schema): Promise<void> {
    const same = this.schema.tables.every(({ strategy }, i) => strategy === schema.tables[i]!.strategy);
    this.ruled = schema;
    if (!same) await this.store.setRules(rulesIn(schema));
  }

  change(rule: RuleChange): Promise<void> {
    return this.follow(ruledBy(this.schema, rule));
  }

  /** Forgets all rows, and that there ever were any. */
  async clear(schema: Schema): Promise<void> {
    const { tables } = schema;
    const ids = await this.db.sql<{ id: number }>('SELECT id FROM p2p.tracked_table');
    const emptied = [...tables.map(({ name }) => name), ...ids.map(({ id }) => `p2p.meta_${id}`)];
    const own = ['position', 'parked', 'conflict', 'sweep', 'unversioned'].map((name) => `p2p.${name}`);
    await this.db.pool.query(
      `BEGIN; SET LOCAL session_replication_role = replica; SELECT set_config('p2p.mode', pg_current_xact_id()::text || ' apply', true);
       ${[...emptied, ...own].map((name) => `DELETE FROM ${name};`).join(' ')} COMMIT;
       SELECT setval(oid, 1, false) FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace`,
    );
    await this.follow(schema);
    this.errors.length = 0;
  }

  /**
   * One transaction of a user's: statements that PostgreSQL refuses are left out; where it refuses the commit, all of them are.
   * @returns what was written
   */
  async write(statements: readonly string[]): Promise<Written[]> {
    const client = await this.db.pool.connect();
    let broken = true;
    try {
      await client.query('BEGIN');
      for (const statement of statements) {
        await client
          .query(`SAVEPOINT statement; ${statement}; RELEASE SAVEPOINT statement`)
          .catch((error: unknown) => client.query('ROLLBACK TO SAVEPOINT statement').then(() => refused(error)));
      }
      const written = await client.query<Written>(this.writtenHere());
      const { command } = await client.query('COMMIT').catch(async (error: unknown) => {
        await client.query('ROLLBACK');
        refused(error);
        return { command: 'ROLLBACK' };
      });
      broken = false;
      return command === 'COMMIT' ? written.rows.map((row) => ({ ...row, stamp: Number(row.stamp) })) : [];
    } finally {
      client.release(broken);
    }
  }

  /** Gives up one of the parked rows, where there are any, or writes it with another `n`, which the table may refuse. */
  async decide(nth: number, n: string | null | undefined): Promise<void> {
    const { parked } = await this.store.parked.list({ limit: 100 });
    if (parked.length === 0) return;
    const { id } = parked[nth % parked.length]!;
    try {
      if (n === undefined) await this.store.parked.discard(id);
      else await this.store.parked.change(id, { n });
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== 'invalid_value') throw error;
    }
  }

  private writtenHere(): string {
    return this.store
      .tables()
      .map((name) => {
        const shape = this.store.find(name)!;
        const key = shape.key.map((_, i) => `key${i + 1}::text`);
        return `SELECT '${shape.table}' AS table, ARRAY[${key.join(', ')}] AS key, stamp, origin FROM ${shape.meta} WHERE xid = pg_current_xact_id()`;
      })
      .join(' UNION ALL ');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.opened?.close();
    await this.db[Symbol.asyncDispose]();
  }
}

function rulesIn({ tables }: Schema): Rules {
  const rules = rulesOf(tables.map(({ name, strategy }) => ({ table: name, strategy })));
  if (!rules.ok) throw new Error(rules.problems.join(' '));
  return rules.rules;
}

/**
 * Integrity, values out of range, triggers that raise, what a partition or an identity does not allow: what a generated statement may well run
 * into. Everything else is an error of ours.
 */
function refused(error: unknown): void {
  if (!/^(2[0-3]|27000|54|5500|0A000|428C9|P0001)/.test((error as { code?: string }).code ?? '')) throw error;
}
