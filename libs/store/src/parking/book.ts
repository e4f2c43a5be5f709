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
import { noteOf, type ParkedNote, recordColumns } from './record';
import type { Reason } from './settlement';
import { parkedTables } from './watch';

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
  /** Column → PostgreSQL's text; null in a list, where it is larger than a page may be. */
  readonly row: RowImage | null;
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

/** The same in a list, without a row that is larger than a page may be. */
type ListedRow = Omit<ParkedRow, 'image'> & { readonly image: RowImage | null };

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
    const named = table === undefined ? null : this.shapes.find(table);
    if (named === undefined) throw new Problem('not_found', `${table} is not shared.`);
    const parked = await this.tables();
    const shapes = this.shapes.all.filter(({ id, name }) => parked.has(id) && (named === null || name === named.name));
    if (shapes.length === 0) return { parked: [], cursor: null };
    const { rows } = await this.pool
      .query<ListedRow & { found: number }>(
        `SELECT q.*, CASE WHEN q.bytes > 0 THEN p.image END AS image FROM (
           SELECT q.*, count(*) OVER () AS found, sum(q.bytes) OVER (ORDER BY q.id DESC ROWS UNBOUNDED PRECEDING) AS bytes_so_far
           FROM (
             SELECT ${recordColumns}, p.table_id, p.stamp, p.origin, p.waits_for, p.parked_at,
               CASE WHEN octet_length(p.image::text) <= ${pageBytes} THEN octet_length(p.image::text) ELSE 0 END AS bytes
             FROM p2p.parked AS p WHERE ${below === null ? 'true' : `p.id < ${below}`} AND (${shapes.map(holds).join(' OR ')})
             ORDER BY p.id DESC LIMIT $1
           ) AS q
         ) AS q JOIN p2p.parked AS p ON p.id = q.id WHERE q.bytes_so_far - q.bytes < ${pageBytes} ORDER BY q.id DESC`,
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
    const tables = await this.tables();
    const shapes = this.shapes.all.filter(({ id }) => tables.has(id));
    if (shapes.length === 0) return {};
    const counts = shapes.map((shape) => `(SELECT count(*) FROM p2p.parked AS p WHERE ${holds(shape)})`);
    const { rows } = await this.pool
      .query<{ counts: number[] }>(`SELECT to_json(ARRAY[${counts.join(', ')}]) AS counts`)
      .catch(rethrowAway);
    const named = shapes.map(({ name }, i) => [name, rows[0]!.counts[i]!] as const);
    return Object.fromEntries(named.filter(([, parked]) => parked > 0));
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
      const { shape } = await this.read(id);
      const record = await usersWrite(this.pool, async (client) => {
        // Under the lock: what is completed is the version that the write covers.
        const { rows } = await client.query<ParkedRow>(
          `SELECT p.* FROM p2p.parked AS p JOIN ${shape.meta} AS m ON ${isParked(shape)} WHERE p.id = $1 FOR UPDATE`,
          [id],
        );
        const locked = rows[0] ?? unknown(id);
        const known = Object.entries(locked.image).filter(([column]) =>
          shape.columns.some(({ name }) => name === column),
        );
        await decideIn(client, this.identity, shape, locked.key, imageOf(Object.fromEntries(known)));
        await client.query('DELETE FROM p2p.parked WHERE id = $1', [id]);
        return locked;
      });
      return viewOf(shape, record);
    } catch (error) {
      return rethrowAway(error);
    }
  }

  /** The ids of those that have records. */
  private async tables(): Promise<ReadonlySet<number>> {
    const { rows } = await this.pool.query<{ id: number }>(parkedTables).catch(rethrowAway);
    return new Set(rows.map(({ id }) => id));
  }

  private async read(id: number): Promise<{ record: ParkedRow; shape: TableShape }> {
    const { rows } = await this.pool.query<ParkedRow>('SELECT * FROM p2p.parked WHERE id = $1', [id]);
    const shape = this.shapes.all.find((one) => one.id === rows[0]?.table_id) ?? unknown(id);
    const { rows: held } = await this.pool.query(`SELECT FROM p2p.parked AS p WHERE p.id = $1 AND ${holds(shape)}`, [
      id,
    ]);
    if (held.length === 0) unknown(id);
    return { record: rows[0]!, shape };
  }

  /** None for a table that has just been taken out of sharing. */
  private view(record: ListedRow): ParkedView[] {
    const shape = this.shapes.all.find(({ id }) => id === record.table_id);
    return shape ? [viewOf(shape, record)] : [];
  }
}

/** A local write of the same key ends what a record says, before the record goes. */
function holds(shape: TableShape): string {
  return `EXISTS (SELECT FROM ${shape.meta} AS m WHERE ${isParked(shape)})`;
}

function viewOf(shape: TableShape, record: ListedRow): ParkedView {
  const { stamp, origin, image, waits_for, parked_at } = record;
  const version = { stamp, origin, node_id: origin.replace(/~.*$/, ''), at: stampToIso(stamp) };
  return { ...noteOf(shape, record), waits_for, version, row: image, parked_at };
}

function unknown(id: number): never {
  throw new Problem(
    'not_found',
    `No row is parked under ${id} here, or no longer. GET /p2p/parked lists those that are.`,
  );
}
