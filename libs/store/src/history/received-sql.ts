import type { Stage } from '../apply/stage';
import { inMeta, inStage, keysEqual, metaKeys } from '../keys';
import { keptImage, trimStatement } from './record-sql';

/** Records the staged versions that this transaction has made the ones that stand, and those that arrived beside them. */
export function receivedStatements({ shape, columns, source }: Stage): string[] {
  const standing = `(${source}) AS s JOIN ${shape.meta} AS m ON ${keysEqual(shape, inMeta('m'), inStage('s'))}
    AND m.stamp = s.v1 AND m.origin = s.v2 AND m.xid = pg_current_xact_id()`;
  const key = metaKeys(shape, 'm');
  const staged = keptImage(
    columns.map((column, i) => ({ ...column, at: `c${i + 1}` })),
    's',
  );
  const isStanding = `(v.version ->> 'stamp')::int8 = s.v1 AND v.version ->> 'origin' = s.v2`;
  const record = `INSERT INTO ${shape.history} (${metaKeys(shape)}, stamp, origin, priority, past, deleted, image, how)
    SELECT ${key}, s.v1, s.v2, s.v3, s.v4, s.v7, CASE WHEN NOT s.v7 THEN ${staged} END, 'received' FROM ${standing}
    WHERE s.v6 IS NULL OR NOT EXISTS (SELECT FROM jsonb_array_elements(s.v6) AS v (version) WHERE ${isStanding})
    UNION ALL
    SELECT ${key}, (v.version ->> 'stamp')::int8, v.version ->> 'origin', (v.version ->> 'priority')::int4,
      nullif(v.version -> 'past', 'null'), (v.version ->> 'deleted')::bool, nullif(v.version -> 'image', 'null'),
      CASE WHEN ${isStanding} THEN 'received' ELSE 'lost' END
    FROM ${standing}, LATERAL jsonb_array_elements(s.v6) AS v (version) WHERE s.v6 IS NOT NULL`;
  return [record, trimStatement(shape, `SELECT ${key} FROM ${standing}`)];
}
