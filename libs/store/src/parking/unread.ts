import type { RowImage, Visible } from '@pgmesh/core';
import type { PoolClient } from 'pg';
import { inMeta, keysEqual, textKey } from '../keys';
import type { TableShape } from '../table-shape';
import { typed } from '../typed-text';
import { isSameVersion } from './lift';
import { noteOf, type ParkedNote, putRecords, type RecordRow, recordColumns } from './record';

/** A row whose types do not take it here, as its table would show it. */
export interface UnreadRow {
  /** PostgreSQL's text. */
  readonly key: readonly string[];
  readonly visible: Visible;
  /** PostgreSQL's own. */
  readonly message: string;
}

/**
 * Records rows that cannot be read here as parked; their versions lie in their metadata already. They claim nothing, for what they would claim
 * cannot be computed. Returns those that were not parked before, in this version.
 */
export async function parkUnread(
  client: PoolClient,
  shape: TableShape,
  rows: readonly UnreadRow[],
): Promise<ParkedNote[]> {
  const records = rows.map(({ key, visible: { main, image, composed }, message }) => {
    const { stamp, origin } = main;
    return { key, stamp, origin, composed, image: image as RowImage, message: `${message}.` };
  });
  const { rows: put } = await client.query<RecordRow & { was: boolean }>(
    `WITH out AS MATERIALIZED (
       SELECT ${textKey(shape, 'm')} AS key, r.image, r.stamp, r.origin, r.composed,
         'refused' AS reason, NULL AS "constraint", r.message, NULL::jsonb AS waits_for,
         EXISTS (SELECT FROM p2p.parked AS p WHERE ${isSameVersion(shape)}) AS was
       FROM jsonb_to_recordset($1::jsonb) AS r (key jsonb, stamp int8, origin text, composed bool, image jsonb, message text)
         JOIN ${shape.meta} AS m ON ${keysEqual(shape, inMeta('m'), (column, i) => typed(column, `(r.key ->> ${i})`))}
     ), put AS (${putRecords(shape)})
     SELECT ${recordColumns}, o.was FROM put AS p JOIN out AS o ON o.key = p.key ORDER BY p.id`,
    [JSON.stringify(records)],
  );
  return put.filter(({ was }) => !was).map((row) => noteOf(shape, row));
}
