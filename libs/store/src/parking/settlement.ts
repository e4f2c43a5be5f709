import type { PoolClient } from 'pg';
import type { Stage } from '../apply/stage';
import { cannotRead, Unreadable } from '../apply/unreadable';
import { isTooLarge } from '../database';
import { inData, inStage, keysEqual, metaKeys } from '../keys';
import type { Shapes } from '../shapes';
import type { TableShape } from '../table-shape';
import { connected, type Constraints, type KeyConstraint } from './constraints';
import { drawLower, settleKeys } from './key-claims';
import { isSameRow, Lift } from './lift';
import { type Changed, keepParked, noChange, readReferred } from './record';
import { sift } from './sift';
import { isReferred, isUnmet, lockReferred, parentColumns } from './references';
import { hasSameKey, hasSettledKey, type Waiting, waitingFor } from './waiting';

/** Why a row does not stand. */
export interface Reason {
  readonly reason: 'key' | 'reference' | 'refused';
  /** Its name; null where a type or a function refused the row. */
  readonly constraint: string | null;
  readonly message: string;
  /** The row that has the key, or the one that is referred to: its table, and of it what the constraint names. */
  readonly waits_for: { readonly table: string; readonly key: Readonly<Record<string, string | null>> } | null;
}

/** The rows of one table that do not stand, by their places among the lifted. */
export type Out = Map<string, Reason>;

/** Places of lifted rows, by the id of their table. */
type Places = ReadonlyMap<number, readonly string[]>;

/**
 * Decides which rows stand and which are parked (docs/parking.md), in the transaction that changes them: the rows of a window's keys are
 * locked and copied, and with them every parked row that waits for one of these; the window is merged into the copies, and `conclude`
 * makes the tables what they come to.
 */
export class Settlement {
  private readonly lifts = new Map<number, Lift>();
  /** The records of parked rows that were looked at, by table: of those that still hold, the rows are lifted. */
  private readonly considered = new Map<number, Set<number>>();
  private readonly touched = new Map<number, string>();
  private readonly out = new Map<Lift, Out>();

  private constructor(
    private readonly client: PoolClient,
    private readonly constraints: Constraints,
    private readonly shapes: ReadonlyMap<number, TableShape>,
    /** The tables that are in question, by their ids. */
    readonly tables: ReadonlySet<number>,
  ) {}

  /** @param tables the ids of those that change: all that foreign keys connect with them are in question */
  static async open(
    client: PoolClient,
    { constraints, all: shapes }: Shapes,
    tables: Iterable<number>,
  ): Promise<Settlement> {
    // Nearly all statements here go over all lifted rows.
    await client.query(
      `SELECT set_config(name, 'on', true) FROM unnest('{enable_hashjoin,enable_mergejoin,enable_seqscan}'::text[]) AS s (name)`,
    );
    const all = new Map(shapes.map((shape) => [shape.id, shape]));
    const settlement = new Settlement(client, constraints, all, connected(constraints, tables));
    // Equal keys that are written in two ways are not found by the text of what a row waits for.
    if ([...settlement.tables].some((id) => !hasSettledKey(all.get(id)))) await settlement.takeAll();
    return settlement;
  }

  /** Lifts all parked rows of the tables in question. */
  async takeAll(): Promise<void> {
    const { rows } = await this.client.query<Waiting>(
      'SELECT p.table_id, p.id FROM p2p.parked AS p WHERE p.table_id = ANY ($1)',
      [[...this.tables]],
    );
    await this.takeRecords(rows);
  }

  /** Lifts the rows of a stage's keys. Returns the stage as it is to be merged: into what was lifted. */
  async liftStage(stage: Stage): Promise<Stage> {
    const { shape, source, literals } = stage;
    const lift = await this.lift(shape.id);
    const keys = shape.key.map((_, i) => `s.c${i + 1} AS key${i + 1}`).join(', ');
    await this.takeSame(shape, `SELECT ${keys} FROM (${source}) AS s`, literals);
    await lift.lift(`(${source}) AS s`, keysEqual(shape, inData('d'), inStage('s')), literals);
    return { ...stage, shape: lift.shape };
  }

  /** A stage with rows that cannot be read here, as one that can be merged (see sift). */
  async readStage(stage: Stage): Promise<Stage> {
    return sift(this.client, await this.lift(stage.shape.id), stage);
  }

  /** Lifts rows of a table (see Lift.lift). Returns the table as rows are to be merged into it. */
  async liftRows(shape: TableShape, from: string, condition: string, values: readonly unknown[]): Promise<TableShape> {
    const lift = await this.lift(shape.id);
    await lift.lift(from, condition, values);
    return lift.shape;
  }

  /** Rows have changed by themselves: parked ones of their keys, and those that wait for them, are in question. `keys` is SQL for key1, key2, … */
  async noteChanged(shape: TableShape, keys: string): Promise<void> {
    await this.takeSame(shape, keys, []);
    this.touched.set(shape.id, keys);
  }

  /** Puts back what stands and parks the rest. Nothing is left of what was lifted. */
  async conclude(): Promise<Changed> {
    do {
      for (const [lift, refused] of this.out) await drawLower(this.client, lift, this.keysOf(lift.table), refused);
    } while (await this.takeWaiting());
    for (const [lift, refused] of this.out) {
      this.out.set(lift, await settleKeys(this.client, lift, this.keysOf(lift.table), refused));
    }
    await this.lockParents();
    await this.takeUnmetOut();
    let changed = noChange;
    for (const lift of this.lifts.values()) {
      const considered = [...(this.considered.get(lift.table.id) ?? [])];
      const next = await keepParked(this.client, lift, this.out.get(lift)!, considered).catch((error: unknown) => {
        throw isTooLarge(error) ? new Unreadable(lift.table.name, error as Error, 'size') : error;
      });
      changed = {
        parked: [...changed.parked, ...next.parked],
        returned: [...changed.returned, ...next.returned],
        discarded: [...changed.discarded, ...next.discarded],
      };
    }
    for (const lift of this.lifts.values()) await lift.drop();
    return changed;
  }

  /** Lifts the parked rows of these keys. */
  private async takeSame(shape: TableShape, keys: string, values: readonly unknown[]): Promise<void> {
    const isSame = hasSettledKey(shape) ? hasSameKey(shape) : isSameRow(shape);
    const { rows } = await this.client.query<Waiting>(
      `SELECT p.table_id, p.id FROM (${keys}) AS m JOIN p2p.parked AS p ON ${isSame}`,
      [...values],
    );
    await this.takeRecords(rows);
  }

  /** Lifts the parked rows that wait for one that was lifted or has changed. True when there were any. */
  private async takeWaiting(): Promise<boolean> {
    const found: Waiting[] = [];
    for (const shape of this.shapes.values()) {
      const lift = this.lifts.get(shape.id);
      const touched = this.touched.get(shape.id);
      const keys = [
        ...(lift
          ? [lift.rows, lift.gone].map(
              (table) =>
                `SELECT ${shape.key.map(({ ident }, i) => `${ident} AS key${i + 1}`).join(', ')} FROM ${table}`,
            )
          : []),
        ...(lift ? [`SELECT ${metaKeys(shape)} FROM ${shape.meta} WHERE xid = pg_current_xact_id()`] : []),
        ...(touched === undefined ? [] : [touched]),
      ];
      if (keys.length === 0) continue;
      const { rows } = await this.client.query<Waiting>(
        waitingFor(this.constraints, shape, `(${keys.join(' UNION ALL ')})`),
      );
      found.push(...rows);
    }
    return this.takeRecords(found);
  }

  /** True when there was one that had not been looked at. */
  private async takeRecords(records: readonly Waiting[]): Promise<boolean> {
    const fresh = new Map<number, number[]>();
    for (const { table_id, id } of records) {
      const known = this.considered.get(table_id) ?? new Set();
      this.considered.set(table_id, known);
      if (known.has(id) || !this.shapes.has(table_id)) continue;
      known.add(id);
      fresh.set(table_id, [...(fresh.get(table_id) ?? []), id]);
    }
    for (const [table, ids] of fresh) await this.take(await this.lift(table), ids);
    return fresh.size > 0;
  }

  private keysOf({ id }: TableShape): readonly KeyConstraint[] {
    return this.constraints.keys.filter(({ table }) => table === id);
  }

  private async lockParents(): Promise<void> {
    for (const reference of this.constraints.references) {
      const lift = reference.child.table === null ? undefined : this.lifts.get(reference.child.table);
      if (lift) await this.client.query(lockReferred(reference, lift.rows));
    }
  }

  /** Takes out rows whose reference is not met, then those that referred to them, until there is none. */
  private async takeUnmetOut(): Promise<void> {
    for (let last = await this.takeUnmet(null); last.size > 0;) last = await this.takeUnmet(last);
  }

  /**
   * Takes out rows whose reference is not met, once for each foreign key.
   * @param last the places of those that the last turn has taken out, by table: only who refers to one of them is looked at; at first, all are
   */
  private async takeUnmet(last: Places | null): Promise<Places> {
    const found = new Map<number, string[]>();
    for (const reference of this.constraints.references) {
      const { child, parent } = reference;
      if (child.table === null || !this.tables.has(child.table) || !this.shapes.has(child.table)) continue;
      const gone = parent.table === null ? undefined : this.lifts.get(parent.table);
      const left = parent.table === null ? undefined : last?.get(parent.table);
      if (last !== null && left === undefined) continue;
      const values = left === undefined ? [] : [left];
      const from =
        left === undefined ? gone && `${gone.gone} AS g` : `${gone!.rows} AS g WHERE g.ctid = ANY ($1::tid[])`;
      const referred = from && `(SELECT DISTINCT ${parentColumns(reference, 'g')} FROM ${from}) AS r`;
      const shape = this.shapes.get(child.table)!;
      const lifted = this.lifts.get(child.table);
      const places: string[] = [];
      if (lifted) {
        if (left !== undefined) await lifted.index(reference.columns.map((column) => column.child));
        const { rows } = await this.client.query<{ place: string }>(
          `DELETE FROM ${child.relation} AS d USING ${lifted.rows} AS l${left === undefined ? '' : `, ${referred}`}
           WHERE ${keysEqual(shape, inData('d'), inData('l'))} AND ${isUnmet(reference, 'd')}
             ${left === undefined ? '' : `AND ${isReferred(reference, 'l')}`} RETURNING l.ctid::text AS place`,
          values,
        );
        places.push(...rows.map(({ place }) => place));
      }
      // Rows that nobody has touched, whose parent stood and no longer does.
      if (referred !== undefined) {
        const lost = [
          isReferred(reference, 'd'),
          isUnmet(reference, 'd'),
          ...(lifted
            ? [`NOT EXISTS (SELECT FROM ${lifted.rows} AS l WHERE ${keysEqual(shape, inData('d'), inData('l'))})`]
            : []),
          // A key of one partition says nothing of the others.
          ...(child.relation === shape.name
            ? []
            : [`EXISTS (SELECT FROM ${child.relation} AS c WHERE ${keysEqual(shape, inData('c'), inData('d'))})`]),
        ].join(' AND ');
        const text = `SELECT FROM ${shape.name} AS d, ${referred} WHERE ${lost} LIMIT 1`;
        const { rows } = await this.client.query(text, values);
        if (rows.length > 0) places.push(...(await (await this.lift(child.table)).takeOut(referred, lost, values)));
      }
      if (places.length === 0) continue;
      found.set(child.table, [...(found.get(child.table) ?? []), ...places]);
      const lift = this.lifts.get(child.table)!;
      const out = this.out.get(lift)!;
      for (const [place, reason] of await readReferred(this.client, lift, reference, places)) out.set(place, reason);
    }
    return found;
  }

  private async lift(id: number): Promise<Lift> {
    const known = this.lifts.get(id);
    if (known) return known;
    const lift = await Lift.open(this.client, this.shapes.get(id)!);
    this.lifts.set(id, lift);
    this.out.set(lift, new Map());
    return lift;
  }

  /** One that can no longer be read, since a type has changed, stays parked as it is. */
  private async take(lift: Lift, ids: readonly number[]): Promise<void> {
    await this.client.query('SAVEPOINT take');
    try {
      await lift.takeParked(ids);
      await this.client.query('RELEASE SAVEPOINT take');
    } catch (error) {
      if (!cannotRead(error, lift.table)) throw error;
      await this.client.query('ROLLBACK TO SAVEPOINT take');
      if (ids.length === 1) return;
      const half = ids.length >> 1;
      await this.take(lift, ids.slice(0, half));
      await this.take(lift, ids.slice(half));
    }
  }
}
