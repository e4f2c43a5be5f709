import type { PoolClient, QueryConfig, QueryResult, QueryResultRow } from 'pg';
import type { Past } from '../forgetting/past';
import { receivedStatements } from '../history/received-sql';
import { inMeta, inStage, keysEqual } from '../keys';
import { prepared } from '../prepared';
import type { Judge } from './judge';
import { mergeStatements, type MergeStatements } from './merge-sql';
import type { RecordedConflict } from '../conflicts/record';
import type { Crowd } from './crowd';
import { unknownOwn } from './own-name';
import { resolveConcurrent } from './resolve';
import { type Impostor, impostorFound } from './same-name';
import type { Stage } from './stage';
import { assertSound, repeatedKeys, type Soundness } from './soundness';

export interface MergeOptions {
  /** The feed that the window's rows come by, for whoever knows that feed as far; null where they are in nobody's knowledge. */
  readonly via: string | null;
  /** The sender's feed. */
  readonly feed: string;
  readonly sender: string;
  /** Under which we write. */
  readonly origin: string;
  /** How far ahead of our clock a version may be stamped, in microseconds. */
  readonly maxDrift: number;
  /** How conflicts are decided. */
  readonly judge: Judge;
  /** Told of rows that many have written at once. */
  readonly crowded: (crowd: Crowd) => void;
  readonly careful: boolean;
  readonly past: () => Past;
  /** Whether something of the table was forgotten here. */
  readonly isGuarded: () => boolean;
}

export interface Merged {
  readonly changed: number;
  readonly conflicts: number;
  /** Their records, but for those beyond `notedMost`. */
  readonly noted: readonly RecordedConflict[];
  /** The origins of which rows were here already. */
  readonly repeated: readonly string[];
}

/**
 * A row of the window met one of ours that has no version, or one that was being inserted. The transaction is begun again;
 * rows without a version are given one first.
 */
export class Collision extends Error {
  constructor(readonly merge: StageMerge) {
    super(`A row of ${merge.stage.shape.name} appeared while a window was merged`);
  }
}

/** One table's part of a window on its way into the table. */
export class StageMerge {
  private readonly statements: MergeStatements;

  constructor(
    readonly stage: Stage,
    private readonly options: MergeOptions,
  ) {
    this.statements = mergeStatements(stage, options.origin);
  }

  /**
   * The statements that every part begins with, and that nearly always are all. Deletes come before inserts, so that a key that
   * changed hands within the window is free.
   */
  get opening(): QueryConfig[] {
    const { lock, mark, remove, renumber, put } = this.statements;
    const { count, deleted } = this.stage;
    return [
      this.query(lock),
      this.query(mark, this.places),
      ...(deleted > 0 ? [this.query(remove)] : []),
      ...(deleted < count && renumber ? [this.query(renumber)] : []),
      ...(deleted < count && put ? [this.query(put(false))] : []),
    ];
  }

  /**
   * Goes on from the results of `opening`: rows that are new here, and true conflicts.
   * @throws Collision, unique_violation when the transaction has to be begun again, carefully
   * @throws Problem `clock_drift`, `invalid_version`, `bad_request`, `cloned_node`
   */
  async conclude(client: PoolClient, results: readonly QueryResult[]): Promise<Merged> {
    const [locked, marked] = results as [QueryResult, QueryResult<Counts>];
    await this.assertSound(client, locked);
    const { removed = 0, put = 0 } = marked.rows[0]!;
    if (put > 0) await this.completePut(client, put, this.statements.put ? (results.at(-1)!.rowCount ?? 0) : 0);
    return this.mergeRest(client, removed + put);
  }

  /**
   * A large part, in which no row is looked at more often than it must be. At first it is tried without the lock that comes
   * before everything else: a user's write that meets it then makes it time out, and it is begun again with the lock.
   */
  async run(client: PoolClient): Promise<Merged> {
    const { stage, statements, options } = this;
    const survey = await client.query(this.query(options.careful ? statements.lock : statements.survey));
    await this.assertSound(client, survey);
    const { rows } = await client.query<Counts>(this.query(statements.mark, this.places));
    const { removed = 0, put = 0 } = rows[0]!;
    if (removed > 0) await client.query(this.query(statements.remove));
    if (put > 0) {
      if (statements.renumber) await client.query(this.query(statements.renumber));
      const all = removed + put === stage.count;
      const updated = statements.put ? (await client.query(this.query(statements.put(all)))).rowCount : 0;
      await this.completePut(client, put, updated ?? 0);
    }
    return this.mergeRest(client, removed + put);
  }

  private async completePut(client: PoolClient, put: number, updated: number): Promise<void> {
    const { statements } = this;
    const missing = updated < put ? ((await client.query(this.query(statements.putMissing))).rowCount ?? 0) : 0;
    if (statements.put && updated + missing !== put) throw new Collision(this);
  }

  /** What was neither known nor newer: rows that are new here, and conflicts. */
  private async mergeRest(client: PoolClient, won: number): Promise<Merged> {
    const { stage, statements, options } = this;
    if (won === stage.count) {
      await this.record(client, won);
      return { changed: won, conflicts: 0, noted: [], repeated: [] };
    }
    const {
      matched = 0,
      concurrent = 0,
      left_over = 0,
      same = 0,
      repeated,
    } = (await client.query<Counts & { repeated: string[] | null }>(this.query(statements.census))).rows[0]!;
    if (left_over > 0) throw repeatedKeys(stage);
    if (same > 0 && stage.literals.length > 0) await this.refuseImpostors(client);
    const known = stage.count - matched > 0 && options.isGuarded() ? await this.forgotten(client) : 0;
    const fresh = stage.count - matched - known;
    let several = 0;
    if (fresh > 0) {
      const careful = options.careful || matched + known > 0 || stage.literals.length > 0;
      const { putNew, markNew } = known > 0 ? mergeStatements(this.unforgotten, options.origin) : statements;
      const inserted = (await client.query(this.query(putNew(careful)))).rowCount;
      const { rows } = await client.query<Counts>(this.query(markNew(careful), this.places));
      if (rows[0]!.marked !== fresh || rows[0]!.live !== inserted) throw new Collision(this);
      several = rows[0]!.several ?? 0;
    }
    await this.record(client, won + fresh);
    // A set that is new here is judged as well: its sender may go by other rules, or have a resolver that failed.
    const told = { repeated: repeated ?? [] };
    if (concurrent + several === 0) return { changed: won + fresh, conflicts: 0, noted: [], ...told };
    const resolved = await resolveConcurrent(
      client,
      stage,
      statements,
      options.via,
      options.judge,
      { past: options.past(), feed: options.feed, origin: options.origin, isGuarded: options.isGuarded() },
      () => new Collision(this),
    );
    if (resolved.crowd > 0) options.crowded({ table: stage.shape.name, versions: resolved.crowd });
    return { ...resolved, ...told, changed: won + fresh + resolved.changed };
  }

  /**
   * How many rows that are not here were, as we have come past what they are: deleted, and forgotten. They are left out. Late windows have
   * such rows, and copies from nodes that have yet to hear of the deletion.
   */
  private async forgotten(client: PoolClient): Promise<number> {
    const text = `SELECT count(*) AS forgotten FROM (${this.stage.source}) AS s WHERE ${this.isForgotten}`;
    const values = [...this.stage.literals];
    return (await client.query<{ forgotten: number }>(text, values)).rows[0]!.forgotten;
  }

  /** What statements that mark rows are told besides the stage. */
  private get places(): (string | null)[] {
    return [this.options.via, this.options.feed];
  }

  private get isForgotten(): string {
    const { shape } = this.stage;
    const isHere = `EXISTS (SELECT FROM ${shape.meta} AS m WHERE ${keysEqual(shape, inMeta('m'), inStage('s'))})`;
    return `NOT ${isHere} AND ${this.options.past().passedSql(this.options.feed)}`;
  }

  private get unforgotten(): Stage {
    const { stage } = this;
    return { ...stage, source: `SELECT s.* FROM (${stage.source}) AS s WHERE NOT (${this.isForgotten})` };
  }

  /** Into the table's history, where one is kept, with what stands now: before conflicts, which have more to tell. */
  private async record(client: PoolClient, standing: number): Promise<void> {
    if (this.stage.shape.maxVersions === 0 || standing === 0) return;
    for (const statement of receivedStatements(this.stage)) await client.query(this.query(statement));
  }

  private async refuseImpostors(client: PoolClient): Promise<void> {
    const { rows } = await client.query<Impostor & QueryResultRow>(this.query(this.statements.impostor));
    if (rows[0]) throw impostorFound(this.stage, rows[0], this.options.sender);
  }

  /** After a collision: refuses a part that collided with itself. */
  async assertDistinct(client: PoolClient): Promise<void> {
    if ((await client.query(this.query(this.statements.repeated))).rowCount) throw repeatedKeys(this.stage);
  }

  private async assertSound(client: PoolClient, { rows: [found] }: QueryResult): Promise<void> {
    const { stage, statements, options } = this;
    const soundness = found as Soundness;
    assertSound(stage, soundness, options);
    if (soundness.own === 0) return;
    const { rows } = await client.query<{ stamp: number }>(this.query(statements.unknownOwn));
    if (rows[0]) throw unknownOwn(stage, rows[0].stamp, options.origin, options.sender);
  }

  private query(text: string, more: readonly unknown[] = []): QueryConfig {
    const values = [...this.stage.literals, ...more];
    return this.stage.literals.length > 0 ? prepared(text, values) : { text, values };
  }
}

type Counts = Partial<
  Record<'removed' | 'put' | 'matched' | 'concurrent' | 'left_over' | 'same' | 'marked' | 'live' | 'several', number>
>;
