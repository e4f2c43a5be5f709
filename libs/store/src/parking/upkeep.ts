import { formatSnapshot, parsePgSnapshot, type Snapshot } from '@pgmesh/core';
import type { Pool } from 'pg';
import { refusesRow } from '../database';
import { fingerprintOf } from '../table-shape';
import { versionsSince } from '../feed/window-query';
import type { Shapes } from '../shapes';
import { connected, watched } from './constraints';
import { type Changed, noChange } from './record';
import { metElsewhere } from './waiting';
import { affects, parkedTables } from './watch';

/** Milliseconds at least between two settlements, and how many times as long as one took. */
const pause = { least: 100, times: 5 };

/** The types of the tables' columns, and those that they are made of: what a domain is over, what an array, a range or a composite type has in it. */
const usedTypes = `used (type) AS (
    SELECT a.atttypid FROM pg_attribute AS a WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT p.type FROM used AS u JOIN pg_type AS t ON t.oid = u.type, LATERAL (
      SELECT t.typbasetype UNION ALL SELECT t.typelem
      UNION ALL SELECT a.atttypid FROM pg_attribute AS a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
      UNION ALL SELECT r.rngsubtype FROM pg_range AS r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
    ) AS p (type) WHERE p.type <> 0
  )`;

/**
 * Looks after parked rows between windows: whatever a local write makes possible stands soon after it, and whatever the definition of a table makes
 * possible after that. Where nothing is parked, it costs nothing.
 */
export class ParkingUpkeep {
  private idle = false;
  private seen: { readonly at: Snapshot; readonly definitions: string } | null = null;
  private under: Promise<void> | null = null;
  private asked = false;
  private stopped = false;
  private timer: NodeJS.Timeout | null = null;
  private notBefore = 0;

  constructor(
    private readonly pool: Pool,
    private readonly shapes: Shapes,
    private readonly settle: (tables: ReadonlySet<number>, since: Snapshot | null) => Promise<Changed>,
    private readonly failed: (error: Error) => void,
  ) {}

  /** Rows were parked: from now on there is something to look after. */
  noteParked(): void {
    this.idle = false;
  }

  /** Something has changed. Looks soon, if anything is parked. */
  nudge(): void {
    if (this.idle || this.stopped) return;
    this.asked = true;
    if (this.under || this.timer) return;
    this.timer = setTimeout(() => this.start(), Math.max(0, this.notBefore - performance.now())).unref();
  }

  /** Tries all parked rows anew, whether or not anything has changed that is seen from here. */
  tryAll(): Promise<Changed> {
    return this.look(true);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    if (this.timer) clearTimeout(this.timer);
    await this.under;
  }

  private start(): void {
    this.timer = null;
    this.asked = false;
    const begun = performance.now();
    this.under = this.look()
      .then(() => undefined, this.failed)
      .finally(() => {
        this.under = null;
        this.notBefore = performance.now() + Math.max(pause.least, pause.times * (performance.now() - begun));
        if (this.asked) this.nudge();
      });
  }

  /** @param all whether or not there is news: another look may be under way, from before what is asked for */
  private async look(all = false): Promise<Changed> {
    const { rows } = await this.pool.query<{ id: number }>(parkedTables);
    this.idle = rows.length === 0;
    if (this.idle) return noChange;
    const parked = rows.map(({ id }) => id);
    const tables = connected(this.shapes.constraints, parked);
    const present = await this.present(tables);
    const afresh = all || this.seen?.definitions !== present.definitions || (await this.isMetElsewhere(parked));
    if (!afresh && !(await this.isNews(tables, present))) return noChange;
    const since = afresh ? null : this.seen!.at;
    const changed = await this.settle(new Set(parked), since);
    this.seen = present;
    return changed;
  }

  /** What a settlement goes by: the versions as of a snapshot, and the tables' definitions. */
  private async present(tables: ReadonlySet<number>): Promise<NonNullable<typeof this.seen>> {
    const oids = this.shapes.all.filter(({ id }) => tables.has(id)).map(({ oid }) => oid);
    const { rows } = await this.pool.query<{ snapshot: string; definitions: string }>(
      `WITH RECURSIVE ${usedTypes}
       SELECT pg_current_snapshot()::text AS snapshot, concat_ws(' ',
         (SELECT string_agg(${fingerprintOf('o.oid')}, ' ' ORDER BY o.oid) FROM unnest($1::oid[]) AS o (oid)),
         (SELECT string_agg(d.oid || ' ' || pg_get_expr(d.adbin, d.adrelid), ' ' ORDER BY d.oid) FROM pg_attrdef AS d WHERE d.adrelid = ANY ($1)),
         (SELECT string_agg(c.oid || ' ' || pg_get_constraintdef(c.oid), ' ' ORDER BY c.oid) FROM pg_constraint AS c WHERE c.conrelid = ANY ($1)),
         (SELECT string_agg(x.indexrelid::text, ' ' ORDER BY x.indexrelid) FROM pg_index AS x WHERE x.indrelid = ANY ($1)),
         (SELECT string_agg(a.attrelid || ' ' || a.attnum, ' ' ORDER BY a.attrelid, a.attnum) FROM pg_attribute AS a
          WHERE a.attrelid = ANY ($1) AND a.attnum > 0 AND a.attnotnull),
         (SELECT string_agg(format('%s %s', t.oid, t.tgenabled), ' ' ORDER BY t.oid) FROM pg_trigger AS t WHERE t.tgrelid = ANY ($1) AND NOT t.tgisinternal),
         (SELECT string_agg(c.oid || ' ' || pg_get_constraintdef(c.oid), ' ' ORDER BY c.oid) FROM pg_constraint AS c
          WHERE c.contypid IN (SELECT u.type FROM used AS u)),
         (SELECT string_agg(e.oid || ' ' || e.enumlabel, ' ' ORDER BY e.oid) FROM pg_enum AS e WHERE e.enumtypid IN (SELECT u.type FROM used AS u)),
         (SELECT string_agg(concat_ws(' ', t.oid, t.typnotnull, t.typbasetype, t.typtypmod), ' ' ORDER BY t.oid) FROM pg_type AS t
          WHERE t.oid IN (SELECT u.type FROM used AS u)),
         (SELECT string_agg(concat_ws(' ', a.attrelid, a.attname, a.atttypid, a.atttypmod), ' ' ORDER BY a.attrelid, a.attnum)
          FROM pg_type AS t JOIN pg_attribute AS a ON a.attrelid = t.typrelid
          WHERE t.oid IN (SELECT u.type FROM used AS u) AND t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped)) AS definitions`,
      [oids],
    );
    const { snapshot, definitions } = rows[0]!;
    return { at: parsePgSnapshot(snapshot), definitions };
  }

  /** Whether a table that is not shared, whose changes nobody captures, has a row that a parked one waits for. */
  private async isMetElsewhere(parked: readonly number[]): Promise<boolean> {
    for (const reference of this.shapes.constraints.references) {
      const { child, parent } = reference;
      if (child.table === null || parent.table !== null || !parked.includes(child.table)) continue;
      try {
        if ((await this.pool.query(`${metElsewhere(reference)} LIMIT 1`)).rows.length > 0) return true;
      } catch (error) {
        // Of rows that were parked when the column was of another type, and can no longer be read.
        if (!refusesRow(error)) throw error;
      }
    }
    return false;
  }

  private async isNews(tables: ReadonlySet<number>, present: NonNullable<typeof this.seen>): Promise<boolean> {
    const { shapes } = this;
    const { at } = this.seen!;
    if (formatSnapshot(at) === formatSnapshot(present.at)) return false;
    const some = shapes.all
      .filter(({ id }) => tables.has(id))
      .map((shape) => {
        const versions = versionsSince(shape, at);
        return watched(shapes.constraints, shape.id)
          ? affects(shapes, shape, versions)
          : `EXISTS (SELECT FROM ${versions} AS n)`;
      });
    const { rows } = await this.pool.query<{ news: boolean }>(`SELECT ${some.join(' OR ')} AS news`);
    return rows[0]!.news;
  }
}
