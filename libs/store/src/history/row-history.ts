import { type RowImage, vectorOf, type VersionVector } from '@pgmesh/core';
import { Problem } from '@pgmesh/wire';
import type { Pool } from 'pg';
import { rethrowAway } from '../database';
import { decideIn, type VersionName } from '../decide';
import type { NodeIdentity } from '../identity';
import { inData, inMeta, keysEqual } from '../keys';
import { asItIs, type PresentShapes } from '../as-it-is';
import type { TableShape } from '../table-shape';
import { typed } from '../typed-text';
import { usersWrite } from '../users-write';
import { inKeys, keptImage, ownDeleted, ownImage, ownVersion } from './record-sql';

/** One version of a row, as it is kept. */
export interface KeptVersion extends VersionName {
  readonly priority: number;
  /** What its writer had seen, itself included. */
  readonly vector: VersionVector;
  readonly deleted: boolean;
  /** Each column as PostgreSQL's text; null for a deletion, and of a row whose text is larger than 250 MB. */
  readonly row: RowImage | null;
  /** Written on this node; received from a peer; or in conflict with the version that stood when it was known here. */
  readonly how: 'written' | 'received' | 'lost';
  /** Null when it was not recorded: then it is what stands in the table. */
  readonly recordedAt: Date | null;
  /** Whether the row stands under this version now. */
  readonly current: boolean;
}

export interface Restored {
  /** The write that it took. */
  readonly version: VersionName;
  /** Columns of the image that the table has no more. */
  readonly leftOut: readonly string[];
}

interface KeptRow extends Omit<KeptVersion, 'vector' | 'recordedAt'> {
  past: VersionVector | null;
  recorded_at: Date | null;
}

/** The last versions of rows with their images: read, and restored by an ordinary write. */
export class RowHistory {
  constructor(
    private readonly pool: Pool,
    private readonly identity: NodeIdentity,
    private readonly shapes: PresentShapes,
  ) {}

  /**
   * What is kept of a row, the newest first.
   * @param key PostgreSQL's text, as rowKey gives it
   * @throws Problem `not_found` when there never was such a row, `history_off`, `unavailable`
   */
  async list(shape: TableShape, key: readonly string[]): Promise<KeptVersion[]> {
    return asItIs(this.shapes, shape, async (present) => {
      assertKept(present);
      const { rows } = await this.pool.query<KeptRow>(listQuery(present), [...key]);
      if (rows.length === 0) throw unknownRow(present, key);
      return rows.map((row) => toKept(present, row));
    }).catch(rethrowAway);
  }

  /**
   * Writes a row again as it was under a version, or deletes it again: an ordinary write, newer than all that there is.
   * @throws Problem `not_found`, `history_off`, and all that a write is refused with (see decide)
   */
  async restore(shape: TableShape, key: readonly string[], version: VersionName): Promise<Restored> {
    return asItIs(this.shapes, shape, async (present) => {
      const kept = (await this.list(present, key)).find(
        ({ stamp, origin }) => stamp === version.stamp && origin === version.origin,
      );
      if (!kept) {
        const text = `Version ${version.stamp} of ${version.origin} is not, or no longer, in the history of this row of ${present.name}. The history lists those that are.`;
        throw new Problem('not_found', text);
      }
      if (!kept.deleted && kept.row === null) {
        const text = `The row was too large for the history of ${present.name} under this version: its values are not kept. Restore another one.`;
        throw new Problem('invalid_value', text);
      }
      const names = new Set(present.columns.map(({ name }) => name));
      const columns = Object.entries(kept.row ?? {});
      const image = kept.row && Object.fromEntries(columns.filter(([name]) => names.has(name)));
      const written = await usersWrite(this.pool, (client) => decideIn(client, this.identity, present, key, image));
      return { version: written, leftOut: columns.map(([name]) => name).filter((name) => !names.has(name)) };
    }).catch(rethrowAway);
  }
}

/** The recorded versions, and the one that stands where it was not: it is in the table. */
function listQuery(shape: TableShape): string {
  const asked = (column: (typeof shape.key)[number], i: number) => typed(column, `$${i + 1}::text`);
  const isCurrent = (alias: string) => `${alias}.stamp = m.stamp AND ${alias}.origin = m.origin`;
  const image = keptImage(
    shape.columns.map((column) => ({ ...column, at: column.ident })),
    'd',
  );
  const kept = `SELECT h.stamp, h.origin, h.priority, h.past, h.deleted, h.image, h.how, h.recorded_at FROM ${shape.history} AS h
    WHERE ${keysEqual(shape, inKeys('h'), asked)}`;
  const meta = `SELECT m.* FROM ${shape.meta} AS m WHERE ${keysEqual(shape, inMeta('m'), asked)}`;
  return `WITH m AS MATERIALIZED (${meta}), h AS MATERIALIZED (${kept})
    SELECT v.stamp, v.origin, v.priority, v.past, v.deleted, v.image AS row, v.how, v.recorded_at,
      EXISTS (SELECT FROM m WHERE ${isCurrent('v')}) AS current
    FROM (
      (SELECT * FROM h ORDER BY stamp DESC, origin DESC LIMIT ${shape.maxVersions})
      UNION ALL
      SELECT m.stamp, m.origin, m.priority, m.past, ${ownDeleted}, ${ownImage('d.image')},
        CASE WHEN split_part(m.origin, '~', 1) = n.node_id THEN 'written' ELSE 'received' END, NULL
      FROM m CROSS JOIN p2p.node AS n ${ownVersion}
        LEFT JOIN LATERAL (SELECT ${image} AS image FROM ${shape.name} AS d WHERE ${keysEqual(shape, inData('d'), inMeta('m'))}) AS d ON NOT m.deleted
      WHERE NOT EXISTS (SELECT FROM h WHERE ${isCurrent('h')})
    ) AS v ORDER BY v.stamp DESC, v.origin DESC`;
}

function toKept(shape: TableShape, { past, recorded_at, row: image, ...version }: KeptRow): KeptVersion {
  const vector = vectorOf({ ...version, past: past ?? {}, image });
  return { ...version, row: image && inOrder(shape, image), vector, recordedAt: recorded_at };
}

/** The table's columns in its order, then those that it has no more. */
function inOrder({ columns }: TableShape, image: RowImage): RowImage {
  const present = columns.filter(({ name }) => Object.hasOwn(image, name)).map(({ name }) => [name, image[name]!]);
  return { ...Object.fromEntries(present), ...image };
}

function assertKept({ name, maxVersions }: TableShape): void {
  if (maxVersions > 0) return;
  const text = `No history is kept of ${name}. Set P2P_MAX_VERSIONS (maxVersions of P2pModule), for example to 5, and start the node again.`;
  throw new Problem('history_off', text);
}

function unknownRow({ name }: TableShape, key: readonly string[]): Problem {
  return new Problem('not_found', `${name} has no row with the key ${JSON.stringify(key)}, and never had.`);
}
