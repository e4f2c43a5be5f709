import type { PoolClient } from 'pg';
import { writtenStatements } from '../history/record-sql';
import { inData, inMeta, keysEqual, metaKeys } from '../keys';
import { supersession } from '../reconcile';
import { type Column, type TableShape } from '../table-shape';
import { typed } from '../typed-text';
import { standsAs } from './kept-row';
import type { JudgedRow } from './standing';

/**
 * Where a version stands now whose writer's table lacks columns of ours, these keep the values of the version that lost: a row that
 * nobody has written so, and whose name says nothing of them. Nodes that met the two the other way round, and the writer itself when
 * it has the columns, would show others for good (P1). So it is written, as anybody's row is: a version of ours, which has seen both.
 * A conflict that waits for a decision is left to that.
 */
export async function writeKept(client: PoolClient, shape: TableShape, rows: readonly JudgedRow[]): Promise<void> {
  const kept = rows.filter((row) => keepsColumns(shape, row));
  if (kept.length === 0) return;
  const inRecord = (column: Column, i: number) => typed(column, `(r.key ->> ${i})`);
  await client.query(
    `UPDATE ${shape.meta} AS m SET ${supersession()}
     FROM (SELECT p2p.stamp() AS stamp, n.node_id || '~' || n.incarnation AS origin, n.priority, false AS deleted,
         pg_current_xact_id() AS xid FROM p2p.node AS n) AS excluded, jsonb_to_recordset($1::jsonb) AS r (key jsonb)
     WHERE ${keysEqual(shape, inMeta('m'), inRecord)}
       AND EXISTS (SELECT FROM ${shape.relation} AS d WHERE ${keysEqual(shape, inData('d'), inMeta('m'))})`,
    [JSON.stringify(kept.map(({ key }) => ({ key })))],
  );
  if (shape.maxVersions === 0) return;
  const written = `SELECT ${metaKeys(shape, 'm')} FROM ${shape.meta} AS m JOIN p2p.node AS n ON m.origin = n.node_id || '~' || n.incarnation
    WHERE m.xid = pg_current_xact_id() AND m.via IS NULL AND m.siblings IS NULL`;
  await client.query(writtenStatements({ ...shape, name: shape.relation }, written));
}

function keepsColumns(shape: TableShape, { before, visible }: JudgedRow): boolean {
  const { image, composed, main, open } = visible;
  if (image === null || composed || open !== null || before.deleted || standsAs(before, main)) return false;
  return shape.columns.some(({ name }) => !Object.hasOwn(image, name));
}
