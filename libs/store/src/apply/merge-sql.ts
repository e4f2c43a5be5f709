import { printed } from '../feed/window-query';
import { inData, inMeta, inStage, keysAfter, keysEqual, metaKeys, stagedKeys } from '../keys';
import type { Column, TableShape } from '../table-shape';
import type { Stage } from './stage';

/** Rows in conflict that are handled at a time. */
export const concurrentBatch = 1000;

/** The statements by which one table's part of a window becomes rows, in the order in which they run. */
export interface MergeStatements {
  readonly lock: string;
  readonly mark: string;
  readonly census: string;
  /** `all`: every staged row has won, so that it need not be asked again of each. */
  readonly remove: string;
  readonly put: ((all: boolean) => string) | null;
  readonly putMissing: string;
  readonly putNew: (careful: boolean) => string;
  readonly markNew: (careful: boolean) => string;
  /** The next of them after a key, or the first. */
  readonly concurrent: (after: boolean) => string;
}

/**
 * How a staged version `s` stands to ours `m` (invariant 4; libs/core: covers). Only single versions are judged here; where
 * either side has siblings, or none has seen the other, the core decides.
 */
const verdict = `CASE
    WHEN m.siblings IS NOT NULL OR s.v6 IS NOT NULL THEN 'concurrent'
    WHEN m.origin = s.v2 THEN CASE WHEN m.stamp >= s.v1 THEN 'known' ELSE 'newer' END
    WHEN (s.v4 ->> m.origin)::int8 >= m.stamp THEN 'newer'
    WHEN (m.past ->> s.v2)::int8 >= s.v1 THEN 'known'
    ELSE 'concurrent' END`;

export function mergeStatements({ shape, columns, source, literals }: Stage): MergeStatements {
  const via = `$${literals.length + 1}::text`;
  const idents = columns.map((column) => column.ident).join(', ');
  const values = columns.map((_, i) => `s.c${i + 1}`).join(', ');
  const keys = shape.key.map((column) => column.ident).join(', ');
  const order = stagedKeys(shape, 's');
  const metaIsStaged = keysEqual(shape, inMeta('m'), inStage('s'));
  const dataIsStaged = keysEqual(shape, inData('d'), inStage('s'));
  const updates = columns
    .filter((column) => !column.always)
    .map((column) => `${column.ident} = s.c${columns.indexOf(column) + 1}`);
  const isNew = `NOT EXISTS (SELECT FROM ${shape.meta} AS m WHERE ${metaIsStaged})`;
  // What this very transaction has marked with the staged version is what stands now.
  const won = `m.stamp = s.v1 AND m.origin = s.v2 AND m.xid = pg_current_xact_id()`;
  return {
    // Data before metadata, in key order: the order in which users' own writes lock. The stamps are looked at on the way.
    lock: `SELECT (SELECT count(*) FROM (SELECT FROM ${shape.name} AS d JOIN (${source}) AS s ON ${dataIsStaged}
        ORDER BY ${shape.key.map((c) => `d.${c.ident}`).join(', ')} FOR NO KEY UPDATE OF d) AS l) AS locked,
      max(s.v1) AS stamp, max(CASE WHEN s.v6 IS NOT NULL THEN p2p.highest_stamp(s.v6) END) AS sibling, p2p.clock() AS now
      FROM (${source}) AS s`,
    // A metadata row that somebody else changes meanwhile is judged again by the UPDATE itself, in its newest version.
    mark: `WITH marked AS (
        UPDATE ${shape.meta} AS m SET stamp = s.v1, origin = s.v2, priority = s.v3, past = s.v4, fields = s.v5, siblings = NULL,
          deleted = s.v7, via = ${via}, xid = pg_current_xact_id()
        FROM (${source}) AS s WHERE ${metaIsStaged} AND (${verdict}) = 'newer' RETURNING m.deleted
      )
      SELECT count(*) FILTER (WHERE deleted) AS removed, count(*) FILTER (WHERE NOT deleted) AS put FROM marked`,
    census: `SELECT count(*) AS matched, count(*) FILTER (WHERE (${verdict}) = 'concurrent') AS concurrent
      FROM (${source}) AS s JOIN ${shape.meta} AS m ON ${metaIsStaged}`,
    remove: `DELETE FROM ${shape.name} AS d USING (${source}) AS s, ${shape.meta} AS m
      WHERE s.v7 AND ${metaIsStaged} AND ${won} AND ${dataIsStaged}`,
    put:
      updates.length === 0
        ? null
        : (
            all,
          ) => `UPDATE ${shape.name} AS d SET ${updates.join(', ')} FROM (${source}) AS s${all ? '' : `, ${shape.meta} AS m`}
      WHERE NOT s.v7 AND ${dataIsStaged}${all ? '' : ` AND ${metaIsStaged} AND ${won}`}`,
    putMissing: `INSERT INTO ${shape.name} AS d (${idents}) OVERRIDING SYSTEM VALUE
      SELECT ${values} FROM (${source}) AS s JOIN ${shape.meta} AS m ON ${metaIsStaged} WHERE NOT s.v7 AND ${won}
        AND NOT EXISTS (SELECT FROM ${shape.name} AS d WHERE ${dataIsStaged}) ORDER BY ${order}
      ON CONFLICT (${keys}) DO NOTHING`,
    putNew: (careful) => `INSERT INTO ${shape.name} (${idents}) OVERRIDING SYSTEM VALUE
      SELECT ${values} FROM (${source}) AS s WHERE NOT s.v7${careful ? ` AND ${isNew} ORDER BY ${order} ON CONFLICT (${keys}) DO NOTHING` : ''}`,
    markNew: (careful) => `WITH fresh AS (
        INSERT INTO ${shape.meta} (${metaKeys(shape)}, stamp, origin, priority, past, fields, siblings, deleted, via, xid)
        SELECT ${order}, s.v1, s.v2, s.v3, s.v4, s.v5, s.v6, s.v7, ${via}, pg_current_xact_id() FROM (${source}) AS s
        ${careful ? `WHERE ${isNew} ORDER BY ${order} ON CONFLICT DO NOTHING` : ''} RETURNING deleted
      ) SELECT count(*) AS marked, count(*) FILTER (WHERE NOT deleted) AS live FROM fresh`,
    concurrent: (after) => `SELECT ARRAY[${shape.key.map((_, i) => `m.key${i + 1}::text`).join(', ')}] AS key,
        m.stamp, m.origin, m.priority, m.past, m.fields, m.siblings, m.deleted, ${imageOf(shape.columns, (column) => `d.${column.ident}`)} AS image,
        s.v1, s.v2, s.v3, s.v4, s.v5, s.v6, s.v7, ${imageOf(columns, (_, i) => `s.c${i + 1}`)} AS staged
      FROM (${source}) AS s JOIN ${shape.meta} AS m ON ${metaIsStaged} LEFT JOIN ${shape.name} AS d ON ${dataIsStaged}
      WHERE (${verdict}) = 'concurrent'${after ? ` AND ${keysAfter(shape, inMeta('m'), (column, i) => `$${literals.length + 1 + i}::text::${column.type}`)}` : ''}
      ORDER BY ${metaKeys(shape, 'm')} LIMIT ${concurrentBatch}`,
  };
}

/**
 * What an upsert of a row that is there does. A key is left alone where it cannot differ: an update that names it would wait for
 * every transaction that holds a reference to the row.
 */
export function updatesOf(shape: TableShape, columns: readonly Column[]): string {
  const fixed = new Set(shape.key.filter((column) => column.settled).map(({ name }) => name));
  const updates = columns.filter(({ name, always }) => !always && !fixed.has(name)).map(({ ident }) => `${ident} = excluded.${ident}`);
  return updates.length > 0 ? `UPDATE SET ${updates.join(', ')}` : 'NOTHING';
}

/** A row as a JSON object of texts: what each type's output function prints, never a JSON number. */
function imageOf(columns: readonly Column[], value: (column: Column, i: number) => string): string {
  const names = columns.map(({ name }) => `'${name.replace(/'/g, "''")}'`).join(', ');
  const values = columns.map((column, i) => printed(column, value(column, i))).join(', ');
  return `jsonb_object(ARRAY[${names}]::text[], ARRAY[${values}]::text[])`;
}
