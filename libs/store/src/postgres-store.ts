import {
  type DigestedForm,
  defaultRules,
  type MaxVersions,
  noVersions,
  type References,
  type Rules,
  type Slot,
} from '@pgmesh/core';
import { Problem } from '@pgmesh/wire';
import { isDeepStrictEqual } from 'node:util';
import { type Crowd, crowdFinding } from './apply/crowd';
import { dropStages } from './apply/desk';
import { PostgresInbox } from './apply/inbox';
import { Judge, type Resolvers } from './apply/judge';
import { PostgresDigests } from './compare/digests';
import { ConflictBook } from './conflicts/book';
import { asItIs } from './as-it-is';
import { Connections } from './connections';
import { rethrowAway, sqlState, waits } from './database';
import { type ChangesPage, type ChangesQuery, readChanges } from './feed/changes';
import { PostgresFeed } from './feed/feed';
import { Wakeup } from './feed/wakeup';
import { collect, type Tombstones, tombstones } from './forgetting/collect';
import { letGo } from './forgetting/let-go';
import { readPassed, settles } from './forgetting/passed';
import { RowHistory } from './history/row-history';
import { needsSeed, seedHistory } from './history/seed';
import { ParkedBook } from './parking/book';
import type { Changed } from './parking/record';
import { ParkingUpkeep } from './parking/upkeep';
import { establishIdentity, type NodeIdentity } from './identity';
import { Lease, type LeaseOptions, newHolder, sessionName } from './lease';
import { PostgresMembers } from './members';
import { migrate } from './migrate';
import { PostgresPeerBook } from './peer-book';
import { checkDatabase, chooseTables, type Finding } from './preflight';
import { followNames } from './renamed-columns';
import { rowKey } from './row-key';
import { whyRow, type WhyView } from './row-why';
import { Rulebook } from './rulebook';
import { findSequences } from './sequences/report';
import { Upkeep } from './upkeep';
import { Shapes } from './shapes';
import { PostgresSyncHistory } from './sync-history';
import { type TableShape } from './table-shape';
import { backfill, buryMissing } from './reconcile';
import { forgetDropped, track, untrack } from './tracking';

export interface StoreOptions {
  readonly url: string;
  readonly nodeId: string;
  readonly priority?: number;
  /** `public.customers`, `orders`, `"My Table"`, `*`. */
  readonly tables: readonly string[];
  /** How conflicts are decided; by the last write unless given. */
  readonly rules?: Rules;
  /** For the strategy `custom`, by the names that rules have for them. */
  readonly resolvers?: Resolvers;
  /** How long a resolver may take for two versions, in milliseconds; 250 unless given. */
  readonly resolverTimeout?: number;
  /** How many of a row's last versions are kept with their images; none unless given. */
  readonly maxVersions?: MaxVersions;
  /** How far ahead of our clock a version may be stamped, in milliseconds; 60,000 unless given. */
  readonly maxDrift?: number;
  /** For how many milliseconds records of conflicts are kept that nobody has to decide; 30 days unless given. */
  readonly conflictRetention?: number;
  /** Waits until no other process does this for the same database; without it there must be none. */
  readonly lease?: LeaseOptions;
  readonly onFinding?: (finding: Finding) => void;
  readonly onProgress?: (what: string) => void;
  readonly onError?: (error: Error) => void;
}

/** What a node has refused to start with, every finding with its remedy. */
export class PreflightError extends Error {
  override readonly name = 'PreflightError';

  constructor(readonly findings: readonly Finding[]) {
    super(findings.map(({ table, problem, remedy }) => `${table ? `${table}: ` : ''}${problem} ${remedy}`).join('\n'));
  }
}

export interface StoreHealth {
  readonly away: boolean;
  readonly error: string | null;
  /** The oldest transaction that holds a write open for long, with its process. */
  readonly idle: { readonly pid: number; readonly seconds: number; readonly state: string } | null;
  /** The row with the most concurrent versions of which a merge had to tell within the last hour. */
  readonly crowded: (Crowd & { readonly at: Date }) | null;
}

const crowdMemory = 3_600_000;

/** A node's database: everything that pgmesh does on PostgreSQL, put together. */
export class PostgresStore {
  private lost: Error | null = null;
  private readonly parkingListeners = new Set<(changed: Changed) => void>();
  private crowd: (Crowd & { readonly at: Date }) | null = null;

  private constructor(
    private readonly connections: Connections,
    private readonly options: StoreOptions,
    private readonly shapes: Shapes,
    private readonly wakeup: Wakeup,
    private readonly rulebook: Rulebook,
    readonly identity: NodeIdentity,
    readonly feed: PostgresFeed,
    readonly inbox: PostgresInbox,
    /** For comparing rows with those of other nodes. */
    readonly digests: PostgresDigests,
    readonly history: PostgresSyncHistory,
    readonly rowHistory: RowHistory,
    readonly peerBook: PostgresPeerBook,
    readonly members: PostgresMembers,
    readonly conflicts: ConflictBook,
    readonly parked: ParkedBook,
    private readonly parking: ParkingUpkeep,
    private readonly upkeep: Upkeep,
  ) {}

  /** @throws PreflightError, Problem `unavailable`, Error with the remedy */
  static async open(options: StoreOptions): Promise<PostgresStore> {
    const holder = newHolder();
    const connections = new Connections(options.url, options.lease && sessionName(holder));
    try {
      return await PostgresStore.assemble(options, connections, holder);
    } catch (error) {
      await connections.end();
      return rethrowAway(error);
    }
  }

  private static async assemble(
    options: StoreOptions,
    connections: Connections,
    holder: string,
  ): Promise<PostgresStore> {
    const pool = connections.ordinary;
    // Check before anything is touched.
    const { chosen, findings } = await chooseTables(pool, options.tables);
    findings.push(...(await findSequences(pool, chosen)), ...(await checkDatabase(pool)));
    for (const finding of findings) options.onFinding?.(finding);
    const errors = findings.filter(({ level }) => level === 'error');
    if (errors.length > 0) throw new PreflightError(errors);

    // Schema, identity, capture.
    for (const name of await migrate(pool)) options.onProgress?.(`migrated ${name}`);
    if (options.lease) connections.lease = await Lease.take(options.url, holder, options.lease);
    await dropStages(pool);
    await forgetDropped(pool);
    const names = chosen.map(({ name }) => name);
    const identity = await establishIdentity(pool, options.nodeId, options.priority ?? 0, names);
    const judge = new Judge(defaultRules, options.resolvers, options.resolverTimeout);
    const rulebook = new Rulebook(connections, options.rules ?? defaultRules, judge);
    await rulebook.open();
    const shapes = new Shapes(pool);
    await shapes.refresh();
    for (const shape of shapes.all) if (!chosen.some(({ oid }) => oid === shape.oid)) await untrack(pool, shape);
    for (const { oid, name } of chosen) {
      const shape = await track(pool, identity, oid, judge.keeps, options.maxVersions ?? noVersions);
      await backfill(pool, identity, shape, (rows) => options.onProgress?.(`${name}: ${rows} rows`));
      if (await needsSeed(pool, shape)) {
        await seedHistory(pool, shape, (rows) => options.onProgress?.(`${name}: ${rows} rows into the history`));
      }
    }
    await shapes.refresh();
    await followNames(pool, shapes.all);
    await rulebook.follow(shapes);

    // Feed and inbox.
    let store: PostgresStore | null = null;
    const wakeup = new Wakeup(options.url, shapes, (error) => store?.noteAway(error));
    const mend = async (shape: TableShape, from: bigint) => {
      const below = await pool.query<{ xmax: string }>('SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS xmax');
      await buryMissing(pool, identity, shape, String(from), below.rows[0]!.xmax);
    };
    const feed = new PostgresFeed(connections.windows, pool, identity, shapes, mend, (listener) =>
      wakeup.listen(listener),
    );
    const inbox = new PostgresInbox(connections, shapes, {
      nodeId: identity.nodeId,
      epoch: identity.epoch,
      origin: identity.origin,
      maxDrift: (options.maxDrift ?? 60_000) * 1000,
      judge,
      adopt: async (shape) => {
        if ((await backfill(pool, identity, shape)) > 0 && shape.maxVersions > 0) await seedHistory(pool, shape);
      },
      crowded: (crowd) => store?.noteCrowd(crowd),
      versionAside: async () => store?.keepUp(),
      changed: () => {
        wakeup.ring();
        store?.upkeep.sequences.soon();
      },
      parking: (changed) => store?.noteParking(changed),
    });
    const digests = new PostgresDigests(
      connections,
      identity,
      shapes,
      (table, keys) => feed.openRows(table, keys),
      (shape) => settles(rulebook.rules, shape),
      () => wakeup.ring(),
    );
    const history = new PostgresSyncHistory(pool);
    const rowHistory = new RowHistory(pool, identity, shapes);
    const book = new PostgresPeerBook(pool);
    const members = new PostgresMembers(pool, identity, shapes, () => rulebook.rules);
    const conflicts = new ConflictBook(pool, identity, shapes);
    const parked = new ParkedBook(pool, identity, shapes);
    const parking = new ParkingUpkeep(
      pool,
      shapes,
      (tables, since) => inbox.settle(tables, since),
      (error) => upkeep.report(error),
    );
    wakeup.listen(() => parking.nudge());
    const upkeep = new Upkeep(pool, identity, shapes, rulebook, parking, options);
    store = new PostgresStore(
      connections,
      options,
      shapes,
      wakeup,
      rulebook,
      identity,
      feed,
      inbox,
      digests,
      history,
      rowHistory,
      book,
      members,
      conflicts,
      parked,
      parking,
      upkeep,
    );
    await upkeep.keepUp();
    wakeup.start();
    upkeep.start();
    return store;
  }

  /** Whether no other process can have taken over by now. */
  get leads(): boolean {
    return this.connections.lease?.isHeld ?? true;
  }

  /** Resolves when another process has taken over: this one must be closed. */
  get displaced(): Promise<void> {
    return this.connections.lease?.lost ?? new Promise(() => undefined);
  }

  /** How conflicts are decided here. */
  get rules(): Rules {
    return this.rulebook.rules;
  }

  /** Which numbers this node draws for serial keys; null while its sequences are not interleaved. */
  get slot(): Slot | null {
    return this.upkeep.sequences.slot;
  }

  /** The names of the resolvers that rules may name here. */
  get resolvers(): readonly string[] {
    return this.rulebook.judge.registered;
  }

  /**
   * Decides conflicts by other rules from now on, across restarts, until others are configured. The rows in conflict stand by them
   * when this has come to its end, here; other nodes have to be told as well.
   * @throws Problem `invalid_rules`, `unavailable`
   */
  async setRules(rules: Rules): Promise<void> {
    this.rulebook.check(rules);
    await this.upkeep.inTurn(() => this.changeRules(rules)).catch(rethrowAway);
    this.wakeup.ring();
  }

  private async changeRules(rules: Rules): Promise<void> {
    const { judge } = this.rulebook;
    const before = new Map(this.shapes.all.map((shape) => [shape.oid, judge.keeps(shape)]));
    await this.rulebook.set(rules, this.shapes, async () => {
      for (const shape of this.shapes.all) {
        if (!isDeepStrictEqual(before.get(shape.oid), judge.keeps(shape))) await this.upkeep.track(shape.oid);
      }
      await this.shapes.refresh();
    });
  }

  private get pool() {
    return this.connections.ordinary;
  }

  /** The names of the tables that we share, sorted. */
  tables(): readonly string[] {
    return this.shapes.names;
  }

  /** What peers are told of these tables; another map whenever one of them has been altered. */
  forms(): ReadonlyMap<string, DigestedForm> {
    return this.shapes.forms;
  }

  /** Looks whether one has been altered, now rather than within seconds. */
  async refreshForms(): Promise<void> {
    await this.shapes.refresh().catch(rethrowAway);
  }

  /** Calls back when a shared table has been altered: seconds after it at the latest. */
  onForms(listener: () => void): () => void {
    return this.shapes.onForms(listener);
  }

  /** Forgets what all members have come past: deletions, and versions that have lost to the last write. Returns how many deletions, by table. */
  async collect(): Promise<Record<string, number>> {
    const { pool, identity, shapes } = this;
    try {
      const passed = await readPassed(pool, identity);
      const counts: Record<string, number> = {};
      for (const shape of shapes.all) {
        await letGo(pool, shape, passed, () => settles(this.rules, shape));
        counts[shape.name] = await collect(pool, identity, shape, passed);
      }
      return counts;
    } catch (error) {
      return rethrowAway(error);
    }
  }

  /** What is remembered of deletions, table by table, and who has yet to hear of them. */
  tombstones(): Promise<Tombstones[]> {
    return tombstones(this.pool, this.identity, this.shapes.all, this.rules).catch(rethrowAway);
  }

  /** The foreign keys between them. */
  references(): References {
    const { all, constraints } = this.shapes;
    const nameOf = (id: number | null) => all.find((shape) => shape.id === id)?.name;
    return constraints.references.flatMap(({ child, parent }) => {
      const [from, to] = [nameOf(child.table), nameOf(parent.table)];
      return from === undefined || to === undefined ? [] : [[from, to] as const];
    });
  }

  /** A shared table by the name that people give it. */
  find(text: string): TableShape | undefined {
    return this.shapes.find(text);
  }

  /** Why a row is as it is (see whyRow). @throws Problem `not_found`, `unavailable` */
  why(shape: TableShape, key: readonly string[]): Promise<WhyView> {
    const { judge } = this.rulebook;
    return asItIs(this.shapes, shape, (present) => whyRow(this.pool, judge, present, key)).catch(rethrowAway);
  }

  /** A row's key as it stands in a URL, as PostgreSQL prints it (see rowKey). @throws Problem `bad_request` */
  rowKey(shape: TableShape, text: string): Promise<string[]> {
    return rowKey(this.pool, shape, text).catch(rethrowAway);
  }

  /** A page of a table's changes as JSON. */
  changes(shape: TableShape, query: ChangesQuery): Promise<ChangesPage> {
    return readChanges(this.pool, this.identity, shape, query).catch(rethrowAway);
  }

  /** How many sets of concurrent versions were settled here, ever. */
  async conflictsResolved(): Promise<number> {
    const { rows } = await this.pool
      .query<{ conflicts: number }>('SELECT coalesce(sum(conflicts), 0)::int8 AS conflicts FROM p2p.tracked_table')
      .catch(rethrowAway);
    return rows[0]!.conflicts;
  }

  /** `patience`: for how many seconds a transaction may hold a write open before it is named. */
  async health(patience = 60): Promise<StoreHealth> {
    const query = `SELECT pid, extract(epoch FROM now() - xact_start)::int8 AS seconds, state FROM pg_stat_activity
      WHERE backend_xid IS NOT NULL AND datname = current_database() AND now() - xact_start >= make_interval(secs => $1)
        AND pid <> pg_backend_pid() ORDER BY xact_start LIMIT 1`;
    try {
      const { rows } = await this.pool.query<NonNullable<StoreHealth['idle']>>(query, [patience]);
      return {
        away: this.lost !== null,
        error: this.lost?.message ?? null,
        idle: rows[0] ?? null,
        crowded: this.crowded,
      };
    } catch (error) {
      return { away: true, error: (error as Error).message, idle: null, crowded: this.crowded };
    }
  }

  async close(): Promise<void> {
    await this.upkeep.stop();
    await this.parking.stop();
    await this.history.flush();
    await this.wakeup.stop();
    await this.connections.end();
  }

  private get crowded(): StoreHealth['crowded'] {
    return this.crowd && Date.now() - this.crowd.at.getTime() < crowdMemory ? this.crowd : null;
  }

  private noteCrowd(crowd: Crowd): void {
    this.options.onFinding?.(crowdFinding(crowd));
    if (this.crowded === null || crowd.versions >= this.crowded.versions) this.crowd = { ...crowd, at: new Date() };
  }

  /** Calls back after rows were parked, are back, or are no more. Returns what ends that. */
  onParking(listener: (changed: Changed) => void): () => void {
    this.parkingListeners.add(listener);
    return () => this.parkingListeners.delete(listener);
  }

  /** Tries all parked rows anew: what a function or a type had refused may be taken by now. @throws Problem `busy`, `unavailable` */
  async settleParked(): Promise<Changed> {
    try {
      await this.shapes.refresh();
      return await this.parking.tryAll();
    } catch (error) {
      if (!waits(sqlState(error))) return rethrowAway(error);
      const text = `Rows are locked by another transaction: ${(error as Error).message}. Nothing was changed; try again.`;
      throw new Problem('busy', text, {}, { cause: error });
    }
  }

  private noteParking(changed: Changed): void {
    if (changed.parked.length > 0) this.parking.noteParked();
    if (changed.parked.length + changed.returned.length + changed.discarded.length === 0) return;
    this.wakeup.ring();
    for (const listener of this.parkingListeners) listener(changed);
  }

  private noteAway(error: Error | null): void {
    if (error && !this.lost) {
      this.options.onError?.(new Error(`The database is away: ${error.message}`, { cause: error }));
    }
    this.lost = error;
  }

  /** Looks after what has changed around the tables, now (see Upkeep). */
  keepUp(): Promise<unknown> {
    return this.upkeep.keepUp();
  }
}
