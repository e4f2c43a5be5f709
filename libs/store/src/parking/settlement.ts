import type { PoolClient } from 'pg';
import type { Stage } from '../apply/stage';
import { refusesRow, sqlState } from '../database';
import { inData, inStage, keysEqual } from '../keys';
import type { TableShape } from '../table-shape';
import { connected, type Constraints } from './constraints';
import { settleKeys } from './key-claims';
import { Lift } from './lift';
import { type Changed, keepParked, noChange, readReferred } from './record';
import { isUnmet } from './references';

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

/**
 * Decides which rows stand and which are parked (docs/parking.md), in the transaction that changes them: parked rows and those of a
 * window's keys are lifted out of their tables, the window is merged into the lifted rows, and `conclude` puts back what stands.
 */
export class Settlement {
  private readonly lifts = new Map<number, Lift>();
  private readonly taken = new Map<Lift, readonly number[]>();
  private readonly out = new Map<Lift, Out>();

  private constructor(
    private readonly client: PoolClient,
    private readonly constraints: Constraints,
    private readonly shapes: ReadonlyMap<number, TableShape>,
    /** The tables that are in question, by their ids. */
    readonly tables: ReadonlySet<number>,
  ) {}

  /** @param tables the ids of those that change: all that foreign keys connect with them are in question, with their parked rows */
  static async open(
    client: PoolClient,
    constraints: Constraints,
    shapes: readonly TableShape[],
    tables: Iterable<number>,
  ): Promise<Settlement> {
    // Nearly all statements here go over all lifted rows.
    await client.query(
      `SELECT set_config(name, 'on', true) FROM unnest('{enable_hashjoin,enable_mergejoin,enable_seqscan}'::text[]) AS s (name)`,
    );
    const all = new Map(shapes.map((shape) => [shape.id, shape]));
    const settlement = new Settlement(client, constraints, all, connected(constraints, tables));
    const { rows } = await client.query<{ table_id: number; ids: number[] }>(
      `SELECT p.table_id, json_agg(p.id) AS ids FROM p2p.parked AS p WHERE p.table_id = ANY ($1) GROUP BY p.table_id`,
      [[...settlement.tables]],
    );
    for (const { table_id, ids } of rows) {
      if (!all.has(table_id)) continue;
      const lift = await settlement.lift(table_id);
      settlement.taken.set(lift, await settlement.take(lift, ids));
    }
    return settlement;
  }

  /** Lifts the rows of a stage's keys. Returns the stage as it is to be merged: into what was lifted. */
  async liftStage(stage: Stage): Promise<Stage> {
    const lift = await this.lift(stage.shape.id);
    await lift.moveOut(`(${stage.source}) AS s`, keysEqual(stage.shape, inData('d'), inStage('s')), stage.literals);
    return { ...stage, shape: lift.shape };
  }

  /** Lifts a table's rows: `USING from WHERE condition`, over `d`. Returns the table as rows are to be merged into it. */
  async liftRows(shape: TableShape, from: string, condition: string, values: readonly unknown[]): Promise<TableShape> {
    const lift = await this.lift(shape.id);
    await lift.moveOut(from, condition, values);
    return lift.shape;
  }

  /** Puts back what stands and parks the rest. Nothing is left of what was lifted. */
  async conclude(): Promise<Changed> {
    for (const lift of [...this.lifts.values()]) {
      const keys = this.constraints.keys.filter(({ table }) => table === lift.table.id);
      this.out.set(lift, await settleKeys(this.client, lift, keys));
    }
    while (await this.takeUnmetOut());
    let changed = noChange;
    for (const lift of this.lifts.values()) {
      const next = await keepParked(this.client, lift, this.out.get(lift)!, this.taken.get(lift) ?? []);
      changed = { parked: [...changed.parked, ...next.parked], returned: [...changed.returned, ...next.returned] };
    }
    for (const lift of this.lifts.values()) await lift.drop();
    return changed;
  }

  /** Takes out rows whose reference is not met, once for each foreign key. True when there were any. */
  private async takeUnmetOut(): Promise<boolean> {
    let found = false;
    for (const reference of this.constraints.references) {
      const { child, parent } = reference;
      if (child.table === null || !this.tables.has(child.table) || !this.shapes.has(child.table)) continue;
      const shape = this.shapes.get(child.table)!;
      const lifted = this.lifts.get(child.table);
      const places: string[] = [];
      if (lifted) {
        const { rows } = await this.client.query<{ place: string }>(
          `DELETE FROM ${child.relation} AS d USING ${lifted.rows} AS l
           WHERE ${keysEqual(shape, inData('d'), inData('l'))} AND ${isUnmet(reference, 'd')} RETURNING l.ctid::text AS place`,
        );
        places.push(...rows.map(({ place }) => place));
      }
      // Rows that nobody has touched, whose parent stood and no longer does.
      const gone = parent.table === null ? undefined : this.lifts.get(parent.table);
      if (gone) {
        const referred = `(SELECT DISTINCT ${reference.columns.map((column, i) => `g.${column.parent} AS r${i + 1}`).join(', ')} FROM ${gone.gone} AS g) AS r`;
        const isChild = reference.columns.map(
          (column, i) => `r.r${i + 1} OPERATOR(${column.equals}) d.${column.child}`,
        );
        const lost = [
          ...isChild,
          isUnmet(reference, 'd'),
          ...(lifted
            ? [`NOT EXISTS (SELECT FROM ${lifted.rows} AS l WHERE ${keysEqual(shape, inData('d'), inData('l'))})`]
            : []),
          // A key of one partition says nothing of the others.
          ...(child.relation === shape.name
            ? []
            : [`EXISTS (SELECT FROM ${child.relation} AS c WHERE ${keysEqual(shape, inData('c'), inData('d'))})`]),
        ].join(' AND ');
        const { rows } = await this.client.query(`SELECT FROM ${shape.name} AS d, ${referred} WHERE ${lost} LIMIT 1`);
        if (rows.length > 0) places.push(...(await (await this.lift(child.table)).moveOut(referred, lost)));
      }
      if (places.length === 0) continue;
      found = true;
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
  private async take(lift: Lift, ids: readonly number[]): Promise<number[]> {
    await this.client.query('SAVEPOINT take');
    try {
      const taken = await lift.takeParked(ids);
      await this.client.query('RELEASE SAVEPOINT take');
      return taken;
    } catch (error) {
      if (!refusesRow(sqlState(error))) throw error;
      await this.client.query('ROLLBACK TO SAVEPOINT take');
      if (ids.length === 1) return [];
      const half = ids.length >> 1;
      return [...(await this.take(lift, ids.slice(0, half))), ...(await this.take(lift, ids.slice(half)))];
    }
  }
}
