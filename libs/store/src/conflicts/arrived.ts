import type { Rules } from '@pgmesh/core';
import type { PoolClient } from 'pg';
import { concurrentBatch, imageOf } from '../apply/merge-sql';
import { fromStored, judge, type StoredVersion } from '../apply/standing';
import { inData, inMeta, keysAfter, keysEqual, metaKeys } from '../keys';
import type { TableShape } from '../table-shape';
import { recordConflicts } from './record';

/** Notes the conflicts of rows that were new here in this transaction and came with several versions, as in a first copy. */
export async function recordArrived(client: PoolClient, shape: TableShape, rules: Rules): Promise<void> {
  const columns = shape.columns.map((column) => ({ ...column, at: column.ident }));
  const later = keysAfter(shape, inMeta('m'), (column, i) => `$${i + 1}::text::${column.type}`);
  const statement = (after: boolean) =>
    `SELECT ARRAY[${shape.key.map((_, i) => `m.key${i + 1}::text`).join(', ')}] AS key, m.stamp, m.origin, m.priority, m.past,
       m.siblings, m.deleted, ${imageOf(columns, 'd')} AS image
     FROM ${shape.meta} AS m LEFT JOIN ${shape.name} AS d ON ${keysEqual(shape, inData('d'), inMeta('m'))}
     WHERE m.xid = pg_current_xact_id() AND m.siblings IS NOT NULL${after ? ` AND ${later}` : ''}
     ORDER BY ${metaKeys(shape, 'm')} LIMIT ${concurrentBatch}`;
  for (let after: readonly string[] = []; ;) {
    const { rows } = await client.query<StoredVersion & { key: string[]; siblings: StoredVersion[] }>(
      statement(after.length > 0),
      [...after],
    );
    const judged = rows.map(({ key, siblings, ...main }) => {
      const state = [{ ...main, image: main.deleted ? null : main.image }, ...siblings].map(fromStored);
      return { key, before: [], state, ...judge(shape, rules, state, key) };
    });
    await recordConflicts(client, shape, judged);
    if (rows.length < concurrentBatch) return;
    after = rows.at(-1)!.key;
  }
}
