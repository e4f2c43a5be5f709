import { type RowImage, stampToIso } from '@pgmesh/core';
import { Problem } from '@pgmesh/wire';
import type { Pool } from 'pg';
import { rethrowAway } from '../database';
import { decideIn, type VersionName } from '../decide';
import type { NodeIdentity } from '../identity';
import { cursorIn, placeIn } from '../page-cursor';
import type { Shapes } from '../shapes';
import type { TableShape } from '../table-shape';
import { usersWrite } from '../users-write';
import { isParked } from './lift';
import { noteOf, type ParkedNote } from './record';
import type { Reason } from './settlement';

export interface ParkedQuery {
  /** A shared table's name. */
  readonly table?: string;
  readonly limit: number;
  /** What an earlier page gave. */
  readonly cursor?: string;
}

/** A parked row, as people are shown it. */
export interface ParkedView extends ParkedNote {
  /** The row that has its key, or the one that it refers to; null where the table refused the row. */
  readonly waits_for: Reason['waits_for'];
  /** The version that would stand. */
  readonly version: VersionName & { readonly node_id: string; readonly at: string };
  /** Column → PostgreSQL's text. */
  readonly row: RowImage;
  readonly parked_at: Date;
}

export interface ParkedPage {
  readonly parked: readonly ParkedView[];
  /** Where older ones go on; null at the end. */
  readonly cursor: string | null;
}

interface ParkedRow extends VersionName, Pick<Reason, 'reason' | 'constraint' | 'message' | 'waits_for'> {
  readonly id: number;
  readonly table_id: number;
  readonly key: readonly string[];
  readonly image: RowImage;
  readonly parked_at: Date;
}

/** Bytes of rows, about, after which a page is not made longer. */
const pageBytes = 4 * 1024 * 1024;

/** The parked rows of this node, as people see and decide them. */
export class ParkedBook {
  constructor(
    private readonly pool: Pool,
    private readonly identity: NodeIdentity,
    private readonly shapes: Shapes,
  ) {}

  /**
   * The newest first.
   * @throws Problem `bad_cursor`, `not_found` for a table that is not shared, `unavailable`
   */
  async list({ table, limit, cursor }: ParkedQuery): Promise<ParkedPage> {
    const below = cursor === undefined ? null : placeIn('parked', cursor);
    const shape = table === undefined ? null : this.shapes.find(table);
    if (shape === undefined) throw new Problem('not_found', `${table} is not shared.`);
    const shapes = shape ? [shape] : this.shapes.all;
    if (shapes.length === 0) return { parked: [], cursor: null };
    const { rows } = await this.pool
      .query<ParkedRow & { found: number }>(
        `SELECT * FROM (
           SELECT q.*, count(*) OVER () AS found, coalesce(sum(octet_length(q.image::text))
             OVER (ORDER BY q.id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS bytes_before
           FROM (
             SELECT p.* FROM p2p.parked AS p WHERE ${below === null ? 'true' : `p.id < ${below}`} AND (${shapes.map(holds).join(' OR ')})
             ORDER BY p.id DESC LIMIT $1
           ) AS q
         ) AS q WHERE q.bytes_before < ${pageBytes} ORDER BY q.id DESC`,
        [limit + 1],
      )
      .catch(rethrowAway);
    const page = rows.slice(0, limit);
    const more = page.length < (rows[0]?.found ?? 0);
    return { parked: page.flatMap((row) => this.view(row)), cursor: more ? cursorIn('parked', page.at(-1)!.id) : null };
  }

  /** @throws Problem `not_found`, `unavailable` */
  async find(id: number): Promise<ParkedView> {
    const { record, shape } = await this.read(id).catch(rethrowAway);
    return viewOf(shape, record);
  }

  /** How many there are, by table; tables without any are left out. */
  async count(): Promise<Record<string, number>> {
    const counts = this.shapes.all.map(
      (shape) =>
        `SELECT '${shape.name.replace(/'/g, "''")}' AS name, count(*) AS parked FROM p2p.parked AS p WHERE ${holds(shape)}`,
    );
    if (counts.length === 0) return {};
    const { rows } = await this.pool
      .query<{ name: string; parked: number }>(counts.join(' UNION ALL '))
      .catch(rethrowAway);
    return Object.fromEntries(rows.filter(({ parked }) => parked > 0).map(({ name, parked }) => [name, parked]));
  }

  /**
   * Gives a parked row up: a delete, which covers all its versions and travels.
   * @throws Problem `not_found`, and what `decide` throws
   */
  discard(id: number): Promise<ParkedView> {
    return this.write(id, () => null);
  }

  /**
   * Writes a parked row otherwise: columns that `row` lacks are as they were. An ordinary write, which the table has to take.
   * @throws Problem `not_found`, and what `decide` throws
   */
  change(id: number, row: RowImage): Promise<ParkedView> {
    return this.write(id, (image) => ({ ...image, ...row }));
  }

  private async write(id: number, imageOf: (image: RowImage) => RowImage | null): Promise<ParkedView> {
    try {
      await this.shapes.refresh();
      const { record, shape } = await this.read(id);
      await usersWrite(this.pool, async (client) => {
        const { rows } = await client.query(
          `SELECT FROM p2p.parked AS p JOIN ${shape.meta} AS m ON ${isParked(shape)} WHERE p.id = $1 FOR UPDATE`,
          [id],
        );
        if (rows.length === 0) throw unknown(id);
        const known = Object.entries(record.image).filter(([column]) =>
          shape.columns.some(({ name }) => name === column),
        );
        await decideIn(client, this.identity, shape, record.key, imageOf(Object.fromEntries(known)));
        await client.query('DELETE FROM p2p.parked WHERE id = $1', [id]);
      });
      return viewOf(shape, record);
    } catch (error) {
      return rethrowAway(error);
    }
  }

  private async read(id: number): Promise<{ record: ParkedRow; shape: TableShape }> {
    const { rows } = await this.pool.query<ParkedRow>('SELECT * FROM p2p.parked WHERE id = $1', [id]);
    const shape = this.shapes.all.find((one) => one.id === rows[0]?.table_id);
    if (!shape) throw unknown(id);
    const { rows: held } = await this.pool.query(`SELECT FROM p2p.parked AS p WHERE p.id = $1 AND ${holds(shape)}`, [
      id,
    ]);
    if (held.length === 0) throw unknown(id);
    return { record: rows[0]!, shape };
  }

  /** None for a table that has just been taken out of sharing. */
  private view(record: ParkedRow): ParkedView[] {
    const shape = this.shapes.all.find(({ id }) => id === record.table_id);
    return shape ? [viewOf(shape, record)] : [];
  }
}

/** A local write of the same key ends what a record says, before the record goes. */
function holds(shape: TableShape): string {
  return `EXISTS (SELECT FROM ${shape.meta} AS m WHERE ${isParked(shape)})`;
}

function viewOf(shape: TableShape, record: ParkedRow): ParkedView {
  const { stamp, origin, image, waits_for, parked_at } = record;
  const version = { stamp, origin, node_id: origin.replace(/~.*$/, ''), at: stampToIso(stamp) };
  return { ...noteOf(shape, record), waits_for, version, row: image, parked_at };
}

function unknown(id: number): Problem {
  return new Problem(
    'not_found',
    `No row is parked under ${id} here, or no longer. GET /p2p/parked lists those that are.`,
  );
}
