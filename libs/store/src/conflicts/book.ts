import type { RowImage } from '@pgmesh/core';
import { Problem } from '@pgmesh/wire';
import type { Pool, PoolClient } from 'pg';
import { rethrowAway, sqlState } from '../database';
import { decideIn, type VersionName } from '../decide';
import type { NodeIdentity } from '../identity';
import { inData, inMeta, keysEqual } from '../keys';
import { isShapeChange, type Shapes } from '../shapes';
import type { TableShape } from '../table-shape';
import { typed } from '../typed-text';
import { usersWrite } from '../users-write';
import { cursorIn, placeIn } from '../page-cursor';
import { endSettled } from './ended';
import { type ConflictRow, type ConflictView, viewOf } from './view';

export interface ConflictQuery {
  /** A shared table's name. */
  readonly table?: string;
  readonly status?: 'open' | 'settled';
  readonly limit: number;
  /** What an earlier page gave. */
  readonly cursor?: string;
}

export interface ConflictPage {
  readonly conflicts: readonly ConflictView[];
  /** Where older ones go on; null at the end. */
  readonly cursor: string | null;
}

/** One of the versions of the conflict, or a row of one's own: columns that it lacks keep their values; null deletes the row. */
export type ConflictDecision = { readonly version: VersionName } | { readonly row: RowImage | null };

/** Bytes of versions, about, after which a page is not made longer. */
const pageBytes = 4 * 1024 * 1024;

const isOpen = '(c.ended_at IS NULL AND c.open IS NOT NULL)';

/** The conflicts of this node, as people see and decide them. */
export class ConflictBook {
  constructor(
    private readonly pool: Pool,
    private readonly identity: NodeIdentity,
    private readonly shapes: Shapes,
  ) {}

  /**
   * The newest first.
   * @throws Problem `bad_cursor`, `not_found` for a table that is not shared, `unavailable`
   */
  async list({ table, status, limit, cursor }: ConflictQuery): Promise<ConflictPage> {
    const below = cursor === undefined ? null : placeIn('conflicts', cursor);
    const shape = table === undefined ? null : this.shapes.find(table);
    if (shape === undefined) throw new Problem('not_found', `${table} is not shared any more.`);
    const conditions = [
      shape && `c.table_id = ${shape.id}`,
      below !== null && `c.id < ${below}`,
      status && (status === 'open' ? isOpen : `NOT ${isOpen}`),
    ];
    const filter = conditions.filter(Boolean).join(' AND ') || 'true';
    try {
      await this.endSettled();
      const { rows } = await this.pool.query<ConflictRow & { found: number }>(
        `SELECT * FROM (
           SELECT c.*, count(*) OVER () AS found, coalesce(sum(octet_length(c.versions::text))
             OVER (ORDER BY c.id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS bytes_before
           FROM (SELECT * FROM p2p.conflict AS c WHERE ${filter} ORDER BY c.id DESC LIMIT $1) AS c
         ) AS c WHERE bytes_before < ${pageBytes} ORDER BY c.id DESC`,
        [limit + 1],
      );
      const page = rows.slice(0, limit);
      const more = page.length < (rows[0]?.found ?? 0);
      return {
        conflicts: page.flatMap((row) => this.view(row)),
        cursor: more ? cursorIn('conflicts', page.at(-1)!.id) : null,
      };
    } catch (error) {
      return rethrowAway(error);
    }
  }

  /** @throws Problem `not_found`, `unavailable` */
  async find(id: number): Promise<ConflictView> {
    try {
      await this.endSettled();
      const record = await read(this.pool, id);
      return this.view(record)[0] ?? unknown(id);
    } catch (error) {
      return rethrowAway(error);
    }
  }

  /** How many wait for somebody's decision. */
  async countOpen(): Promise<number> {
    const { rows } = await this.pool
      .query<{ open: number }>(`SELECT count(*) AS open FROM p2p.conflict AS c WHERE ${isOpen}`)
      .catch(rethrowAway);
    return rows[0]!.open;
  }

  /**
   * Decides a conflict whose row nobody has written since, whatever stands by the rule: a write that covers all of its versions.
   * @throws Problem `not_found`, `decided` when a write came before, `invalid_version` for one that was not part of it, and what
   *   `decide` throws
   */
  async resolve(id: number, decision: ConflictDecision): Promise<ConflictView> {
    try {
      const { table_id } = await read(this.pool, id);
      await this.shapes.refresh();
      const shape = this.shapes.all.find((one) => one.id === table_id) ?? unknown(id);
      const record = await usersWrite(this.pool, (client) => this.resolveIn(client, shape, id, decision));
      return viewOf(shape, record);
    } catch (error) {
      return rethrowAway(error);
    }
  }

  private async resolveIn(
    client: PoolClient,
    shape: TableShape,
    id: number,
    decision: ConflictDecision,
  ): Promise<ConflictRow> {
    const { key } = await read(client, id);
    // Whoever writes the row from now on has to wait for us; in the order in which users' writes lock.
    const value = (column: Parameters<typeof typed>[0], i: number) => typed(column, `$${i + 1}::text`);
    await client.query(`SELECT FROM ${shape.name} AS d WHERE ${keysEqual(shape, inData('d'), value)} FOR UPDATE`, [
      ...key,
    ]);
    const { rows } = await client.query<VersionName & { several: boolean }>(
      `SELECT m.stamp, m.origin, m.siblings IS NOT NULL AS several FROM ${shape.meta} AS m
       WHERE ${keysEqual(shape, inMeta('m'), value)} FOR UPDATE`,
      [...key],
    );
    const record = await read(client, id, 'FOR UPDATE');
    if (!isDecidable(record, rows[0])) throw decided(record.ended_by ?? rows[0] ?? null);
    const image = 'row' in decision ? decision.row : imageOf(shape, record, decision.version);
    const { stamp, origin } = await decideIn(client, this.identity, shape, key, image);
    const { rows: ended } = await client.query<ConflictRow>(
      `UPDATE p2p.conflict SET ended_at = clock_timestamp(), updated_at = clock_timestamp(), ended_by = $2 WHERE id = $1 RETURNING *`,
      [id, JSON.stringify({ stamp, origin })],
    );
    return ended[0]!;
  }

  /** Not where a table is being altered: its records are looked after once its metadata has followed. */
  private async endSettled(): Promise<void> {
    try {
      await endSettled(this.pool, this.shapes.all);
    } catch (error) {
      if (!isShapeChange(sqlState(error), String(error))) throw error;
      await this.shapes.refresh();
    }
  }

  /** None for a table that has just been taken out of sharing. */
  private view(record: ConflictRow): ConflictView[] {
    const shape = this.shapes.all.find(({ id }) => id === record.table_id);
    return shape ? [viewOf(shape, record)] : [];
  }
}

/** Whether nobody has written the row since: it has several versions, or the one that stands has outlasted the others. */
function isDecidable(record: ConflictRow, row: (VersionName & { readonly several: boolean }) | undefined): boolean {
  if (!row) return false;
  if (row.several) return record.ended_at === null;
  return record.versions.some(({ stamp, origin }) => stamp === row.stamp && origin === row.origin);
}

async function read(db: Pick<PoolClient, 'query'>, id: number, lock = ''): Promise<ConflictRow> {
  const { rows } = await db.query<ConflictRow>(`SELECT * FROM p2p.conflict WHERE id = $1 ${lock}`, [id]);
  return rows[0] ?? unknown(id);
}

/** The row of a version of the record, but for columns that the table no longer has. */
function imageOf(shape: TableShape, { versions }: ConflictRow, { stamp, origin }: VersionName): RowImage | null {
  const chosen = versions.find((version) => version.stamp === stamp && version.origin === origin);
  if (!chosen) {
    const names = versions.map((version) => JSON.stringify({ stamp: version.stamp, origin: version.origin }));
    const text = `The conflict has no version ${JSON.stringify({ stamp, origin })}. It has ${names.join(', ')}.`;
    throw new Problem('invalid_version', text);
  }
  if (chosen.image === null) return null;
  const known = Object.entries(chosen.image).filter(([column]) => shape.columns.some(({ name }) => name === column));
  return Object.fromEntries(known);
}

function decided(by: VersionName | null): Problem {
  const write = by ? `the write ${JSON.stringify({ stamp: by.stamp, origin: by.origin })}` : 'a write';
  const text = `The conflict has been ended by ${write}, made with all of its versions in view. Write to the row itself to change it.`;
  return new Problem('decided', text);
}

function unknown(id: number): never {
  throw new Problem('not_found', `There is no conflict ${id} here. GET /p2p/conflicts lists those that there are.`);
}
