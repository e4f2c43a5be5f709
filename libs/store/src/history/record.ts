import { type RowState, type RowVersion, sameVersion } from '@pgmesh/core';
import type { PoolClient } from 'pg';
import { inMeta, keysEqual, metaKeys } from '../keys';
import { typed } from '../typed-text';
import type { Column, TableShape } from '../table-shape';
import { ownVersions } from './capture-block';
import { inKeys, trimStatement, writtenStatements } from './record-sql';

/** Records all that this transaction has given versions past capture. Nothing of a table without history. */
export async function recordWritten(client: PoolClient, shape: TableShape): Promise<void> {
  if (shape.maxVersions > 0) await client.query(writtenStatements(shape, ownVersions(shape)));
}

/** A row's concurrent versions, and the one under whose name it stands. */
export interface RowSet {
  readonly key: readonly string[];
  readonly state: RowState;
  readonly visible: RowVersion;
}

/** Records the versions of rows in conflict: those that do not stand have lost, whatever they came as. */
export async function recordSets(client: PoolClient, shape: TableShape, rows: readonly RowSet[]): Promise<void> {
  if (shape.maxVersions === 0) return;
  const records = rows.flatMap(({ key, state, visible }) =>
    state.map(({ stamp, origin, priority, past, deleted, image }) => {
      const lost = !sameVersion({ stamp, origin } as RowVersion, visible);
      return { key, stamp, origin, priority, past: Object.keys(past).length > 0 ? past : null, deleted, image, lost };
    }),
  );
  const values = [JSON.stringify(records)];
  const from = `jsonb_to_recordset($1::jsonb)
    AS r (key jsonb, stamp int8, origin text, priority int4, past jsonb, deleted bool, image jsonb, lost bool)`;
  const inRecord = (column: Column, i: number) => typed(column, `(r.key ->> ${i})`);
  // One that stands was written here or received, also where it had lost before the rules changed.
  const how = `CASE WHEN r.lost THEN 'lost' WHEN split_part(r.origin, '~', 1) = n.node_id THEN 'written' ELSE 'received' END`;
  const isRecord = `h.stamp = r.stamp AND h.origin = r.origin`;
  await client.query(
    `UPDATE ${shape.history} AS h SET how = ${how} FROM ${from}, p2p.node AS n
     WHERE ${keysEqual(shape, inKeys('h'), inRecord)} AND ${isRecord} AND r.lost <> (h.how = 'lost')`,
    values,
  );
  await client.query(
    `INSERT INTO ${shape.history} (${metaKeys(shape)}, stamp, origin, priority, past, deleted, image, how)
     SELECT ${metaKeys(shape, 'm')}, r.stamp, r.origin, r.priority, nullif(r.past, 'null'), r.deleted, nullif(r.image, 'null'), ${how}
     FROM ${from} CROSS JOIN p2p.node AS n JOIN ${shape.meta} AS m ON ${keysEqual(shape, inMeta('m'), inRecord)}
     WHERE NOT EXISTS (SELECT FROM ${shape.history} AS h WHERE ${keysEqual(shape, inKeys('h'), inMeta('m'))} AND ${isRecord})`,
    values,
  );
  const keys = shape.key.map((column, i) => `${inRecord(column, i)} AS key${i + 1}`).join(', ');
  await client.query(trimStatement(shape, `SELECT DISTINCT ${keys} FROM ${from}`), values);
}
