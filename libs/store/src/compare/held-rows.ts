import type { HeldRow } from '@pgmesh/core';
import type { Queryable } from '../database';
import { settledPast } from '../forgetting/let-go';
import { inData, inMeta, keysEqual } from '../keys';
import { prepared } from '../prepared';
import type { Column, TableShape } from '../table-shape';
import { typed } from '../typed-text';
import { type Compared, digestOf, digestTexts, encoded, several, wholeDigest } from './row-digest';

/** The keys of rows, each column's texts as one parameter. */
export function keyColumns(shape: TableShape, keys: readonly (readonly string[])[]): string[][] {
  return shape.key.map((_, i) => keys.map((key) => key[i]!));
}

/** `keyColumns` as rows `k` with the columns p1, p2, … and their number n, from the parameter `$first` on. */
export function keysFrom({ key }: TableShape, first = 1): string {
  const names = key.map((_, i) => `p${i + 1}`);
  return `unnest(${names.map((_, i) => `$${first + i}::text[]`).join(', ')}) WITH ORDINALITY AS k (${names.join(', ')}, n)`;
}

export const inKeyTexts = (column: Column, i: number): string => typed(column, `k.p${i + 1}`);

/** How rows are held here, in the order of the keys. What is not there at all is held as nothing. */
export async function readHeld(
  db: Queryable,
  shape: TableShape,
  compared: Compared,
  keys: readonly (readonly string[])[],
): Promise<HeldRow[]> {
  const { settled } = compared;
  const texts = digestTexts(shape, compared);
  const { rows } = await db.query<Omit<HeldRow, 'key'>>(
    prepared(
      `SELECT ${encoded(wholeDigest(texts))} AS digest, ${encoded(digestOf(texts.value))} AS value,
         coalesce(d.xmin = m.xid::xid, false) AS untouched,
         CASE WHEN m."p2p.there" THEN json_build_object('stamp', m.stamp, 'origin', m.origin, 'past', coalesce(${known}, '{}'), 'deleted', m.deleted,
           'several', ${several(settled, 'true')} IS NOT NULL, 'composed', ${isComposed}, 'names', ${encoded(digestOf(names(settled)))}) END AS version
       FROM ${keysFrom(shape)}
         LEFT JOIN (SELECT true AS "p2p.there", m.* FROM ${shape.meta} AS m) AS m ON ${keysEqual(shape, inMeta('m'), inKeyTexts)}
         LEFT JOIN (SELECT true AS "p2p.there", d.xmin, d.* FROM ${shape.name} AS d) AS d ON ${keysEqual(shape, inData('d'), inKeyTexts)}
       ORDER BY k.n`,
      keyColumns(shape, keys),
    ),
  );
  return rows.map((row, i) => ({ key: keys[i]!, ...row }));
}

/** All that the row's versions have seen, and they themselves. */
const known = `CASE WHEN m.siblings IS NULL THEN m.past ELSE ${settledPast} END`;

const isComposed = `coalesce(m.siblings @> jsonb_build_array(jsonb_build_object('stamp', m.stamp, 'origin', m.origin)), false)`;

const names = (settled: boolean) => `(SELECT string_agg(v.name, ' ' ORDER BY v.name) FROM (
    SELECT concat_ws('@', m.stamp, m.origin) COLLATE "C" AS name
    UNION SELECT concat_ws('@', s ->> 'stamp', s ->> 'origin') FROM jsonb_array_elements(coalesce(${several(settled, 'm.siblings')}, '[]')) AS s) AS v)`;
