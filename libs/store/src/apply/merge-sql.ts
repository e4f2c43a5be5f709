import { printed, sizeOf } from '../feed/window-query';
import {
  inCollation,
  inData,
  inMeta,
  inStage,
  keysAfter,
  keysEqual,
  metaKeys,
  rekeyed,
  stagedKeys,
  textKey,
} from '../keys';
import { made } from '../made-sql';
import type { Column, TableShape } from '../table-shape';
import { impostorQuery } from './same-name';
import { unknownOwnQuery } from './own-name';
import { soundnessOf } from './soundness';
import type { Stage, Target } from './stage';

/** Rows in conflict that are handled at a time. */
export const concurrentBatch = 1000;
/** Columns of a query, of 1,664, that are left for the values of rows. */
const mostColumns = 1600;
/** Bytes of their values, about, after which no further row is taken. */
const concurrentBytes = 4 * 1024 * 1024;

/** The statements by which one table's part of a window becomes rows, in the order in which they run. */
export interface MergeStatements {
  readonly lock: string;
  /** The look at the versions that comes with the lock, without it. */
  readonly survey: string;
  readonly mark: string;
  readonly census: string;
  /** `all`: every staged row has won, so that it need not be asked again of each. */
  readonly remove: string;
  readonly renumber: string | null;
  readonly put: ((all: boolean) => string) | null;
  readonly putMissing: string;
  readonly putNew: (careful: boolean) => string;
  readonly markNew: (careful: boolean) => string;
  /** A version that claims to be ours, and that we do not know. */
  readonly unknownOwn: string;
  /** Whether a key stands in the part twice. */
  readonly repeated: string;
  /** A version that bears the name of one of ours and is another. */
  readonly impostor: string;
  /** Locks the metadata of the rows in conflict, so that nobody writes over them between their reading and their writing. */
  readonly lockConcurrent: string;
  /** The next of them after a key, or the first. */
  readonly concurrent: (after: boolean) => string;
}

/** Of a staged version that was made over ours: the core decides where ours has let go of siblings that its writer had not heard of. */
const newer = `CASE WHEN m.past IS NULL OR NOT EXISTS (SELECT FROM jsonb_each_text(m.past) AS e
      WHERE e.key <> s.v2 AND ((s.v4 ->> e.key)::int8 >= e.value::int8) IS NOT TRUE) THEN 'newer' ELSE 'concurrent' END`;

/**
 * How a staged version `s` stands to ours `m` (invariant 4; libs/core: covers). Only single versions are judged here; where
 * either side has siblings, none has seen the other, or only one of them has let go of what it won against, the core decides.
 */
const verdict = `CASE
    WHEN m.siblings IS NOT NULL OR s.v6 IS NOT NULL THEN 'concurrent'
    WHEN m.origin = s.v2 THEN CASE WHEN m.stamp < s.v1 THEN ${newer}
      WHEN m.stamp = s.v1 AND m.past IS DISTINCT FROM s.v4 THEN 'concurrent' ELSE 'known' END
    WHEN (s.v4 ->> m.origin)::int8 >= m.stamp THEN ${newer}
    WHEN (m.past ->> s.v2)::int8 >= s.v1 THEN 'known'
    ELSE 'concurrent' END`;

/** `origin`: under which we write. */
export function mergeStatements(stage: Stage, origin: string): MergeStatements {
  const { shape, columns, source, literals } = stage;
  const via = `$${literals.length + 1}::text`;
  const madeIn = `nullif(coalesce(s.v8, $${literals.length + 2}::text), ${via})`;
  const idents = columns.map((column) => column.ident).join(', ');
  const values = columns.map((_, i) => `s.c${i + 1}`).join(', ');
  const keys = shape.key.map((column) => column.ident).join(', ');
  const order = stagedKeys(shape, 's');
  const metaIsStaged = keysEqual(shape, inMeta('m'), inStage('s'));
  const dataIsStaged = keysEqual(shape, inData('d'), inStage('s'));
  const updates = updatedColumns(shape, columns).map((column) => `${column.ident} = s.c${columns.indexOf(column) + 1}`);
  const isNew = `NOT EXISTS (SELECT FROM ${shape.meta} AS m WHERE ${metaIsStaged})`;
  // What this very transaction has marked with the staged version is what stands now.
  const won = `m.stamp = s.v1 AND m.origin = s.v2 AND m.xid = pg_current_xact_id()`;
  return {
    // Data before metadata, in key order: the order in which users' own writes lock. The versions are looked at on the way.
    lock: `SELECT (SELECT count(*) FROM (SELECT FROM ${shape.relation} AS d JOIN (${source}) AS s ON ${dataIsStaged}
        ORDER BY ${shape.key.map((c) => `d.${c.ident}`).join(', ')} FOR NO KEY UPDATE OF d) AS l) AS locked,
      ${soundnessOf(stage, origin)} FROM (${source}) AS s`,
    survey: `SELECT ${soundnessOf(stage, origin)} FROM (${source}) AS s`,
    // A metadata row that somebody else changes meanwhile is judged again by the UPDATE itself, in its newest version.
    mark: `WITH marked AS (
        UPDATE ${shape.meta} AS m SET ${rekeyed(shape, inStage('s'))}stamp = s.v1, origin = s.v2, priority = s.v3, past = s.v4, fields = s.v5, siblings = NULL,
          deleted = s.v7, via = ${via}, xid = pg_current_xact_id(), made_in = ${madeIn}, made_xid = s.v9::text::xid8
        FROM (${source}) AS s WHERE ${metaIsStaged} AND (${verdict}) = 'newer' RETURNING m.deleted
      )
      SELECT count(*) FILTER (WHERE deleted) AS removed, count(*) FILTER (WHERE NOT deleted) AS put FROM marked`,
    census: `SELECT count(*) AS matched, count(*) FILTER (WHERE (${verdict}) = 'concurrent') AS concurrent,
        count(*) FILTER (WHERE (${verdict}) = 'newer') AS left_over, 
        count(*) FILTER (WHERE m.stamp = s.v1 AND m.origin = s.v2 AND m.xid <> pg_current_xact_id()) AS same,
        array_agg(DISTINCT s.v2) FILTER (WHERE m.stamp = s.v1 AND m.origin = s.v2 AND m.xid <> pg_current_xact_id()) AS repeated
      FROM (${source}) AS s JOIN ${shape.meta} AS m ON ${metaIsStaged}`,
    remove: `DELETE FROM ${shape.relation} AS d USING (${source}) AS s, ${shape.meta} AS m
      WHERE s.v7 AND ${metaIsStaged} AND ${won} AND ${dataIsStaged}`,
    renumber: renumbering(
      stage,
      `(${source}) AS s, ${shape.meta} AS m`,
      `NOT s.v7 AND ${metaIsStaged} AND ${won} AND ${dataIsStaged}`,
      (column) => `s.c${columns.indexOf(column) + 1}`,
    ),
    put:
      updates.length === 0
        ? null
        : (
            all,
          ) => `UPDATE ${shape.relation} AS d SET ${updates.join(', ')} FROM (${source}) AS s${all ? '' : `, ${shape.meta} AS m`}
      WHERE NOT s.v7 AND ${dataIsStaged}${all ? '' : ` AND ${metaIsStaged} AND ${won}`}`,
    putMissing: `INSERT INTO ${shape.relation} AS d (${idents}) OVERRIDING SYSTEM VALUE
      SELECT ${values} FROM (${source}) AS s JOIN ${shape.meta} AS m ON ${metaIsStaged} WHERE NOT s.v7 AND ${won}
        AND NOT EXISTS (SELECT FROM ${shape.relation} AS d WHERE ${dataIsStaged}) ORDER BY ${order}
      ON CONFLICT (${keys}) DO NOTHING`,
    putNew: (careful) => `INSERT INTO ${shape.relation} (${idents}) OVERRIDING SYSTEM VALUE
      SELECT ${values} FROM (${source}) AS s WHERE NOT s.v7${careful ? ` AND ${isNew} ORDER BY ${order} ON CONFLICT (${keys}) DO NOTHING` : ''}`,
    markNew: (careful) => `WITH fresh AS (
        INSERT INTO ${shape.meta} (${metaKeys(shape)}, stamp, origin, priority, past, fields, siblings, deleted, via, xid, made_in, made_xid)
        SELECT ${order}, s.v1, s.v2, s.v3, s.v4, s.v5, s.v6, s.v7, ${via}, pg_current_xact_id(), ${madeIn}, s.v9::text::xid8 FROM (${source}) AS s
        ${careful ? `WHERE ${isNew} ORDER BY ${order} ON CONFLICT DO NOTHING` : ''} RETURNING deleted, siblings
      ) SELECT count(*) AS marked, count(*) FILTER (WHERE NOT deleted) AS live, count(siblings) AS several FROM fresh`,
    unknownOwn: unknownOwnQuery(stage, origin),
    repeated: `SELECT FROM (${source}) AS s GROUP BY ${inCollation(shape, 's')} HAVING count(*) > 1 LIMIT 1`,
    impostor: impostorQuery(stage),
    lockConcurrent: `SELECT count(*) FROM (SELECT FROM (${source}) AS s JOIN ${shape.meta} AS m ON ${metaIsStaged}
      WHERE (${verdict}) = 'concurrent' ORDER BY ${metaKeys(shape, 'm')} FOR UPDATE OF m) AS l`,
    concurrent: (after) => concurrentQuery(stage, after),
  };
}

/**
 * What is set in a row that is there already. A key is left alone where it cannot differ: an update that names it would wait for
 * every transaction that holds a reference to the row.
 */
export function updatedColumns({ key }: TableShape, columns: readonly Column[]): Column[] {
  const fixed = new Set(key.filter(({ settled }) => settled).map(({ name }) => name));
  return columns.filter(({ name, always }) => !always && !fixed.has(name));
}

/**
 * Gives rows other values in columns that are GENERATED ALWAYS AS IDENTITY, which no update may name: as they are, they are put
 * aside and back again. Null where there is no such column.
 */
export function renumbering(
  { shape, columns }: Target,
  from: string,
  condition: string,
  value: (column: Column) => string,
  withs?: string,
): string | null {
  const drawn = columns.filter((column) => column.always && !shape.key.some(({ name }) => name === column.name));
  if (drawn.length === 0) return null;
  const differs = drawn.map((column) => `d.${column.ident} IS DISTINCT FROM ${value(column)}`).join(' OR ');
  const kept = shape.columns.map((column) => (drawn.includes(column) ? value(column) : `d.${column.ident}`));
  return `WITH ${withs === undefined ? '' : `${withs}, `}moved AS (DELETE FROM ${shape.relation} AS d USING ${from} WHERE ${condition} AND (${differs})
      RETURNING ${kept.map((sql, i) => `${sql} AS c${i + 1}`).join(', ')})
    INSERT INTO ${shape.relation} (${shape.columns.map(({ ident }) => ident).join(', ')}) OVERRIDING SYSTEM VALUE
    SELECT ${kept.map((_, i) => `w.c${i + 1}`).join(', ')} FROM moved AS w`;
}

/** Rows in conflict with both sides' versions, `concurrentBatch` of them or as many as hold `concurrentBytes`, at least one. */
function concurrentQuery({ shape, columns, source, literals }: Stage, after: boolean): string {
  // Two rows of very many columns are more than a query may have; a row in one column is read whole, and costs more.
  const isWide = shape.columns.length + columns.length > mostColumns;
  const our = isWide ? '(c.d)' : 'c';
  const ours = shape.columns.map((column, i) => ({ ...column, at: isWide ? column.ident : `d${i + 1}` }));
  const data = isWide ? 'd' : shape.columns.map(({ ident }, i) => `d.${ident} AS d${i + 1}`).join(', ');
  const theirs = columns.map((column, i) => ({ ...column, at: `c${i + 1}` }));
  const order = metaKeys(shape, 'c');
  const sizes = [
    ...ours.flatMap((column) => sizeOf(column, `${our}.${column.at}`)),
    ...theirs.flatMap((column) => sizeOf(column, `c.${column.at}`)),
  ];
  const later = keysAfter(shape, inMeta('m'), (column, i) => `$${literals.length + 1 + i}::text::${column.type}`);
  return `WITH found AS MATERIALIZED (
      SELECT m.*, m.xid = pg_current_xact_id() AS fresh, s.*, ${data}
      FROM (${source}) AS s JOIN ${shape.meta} AS m ON ${keysEqual(shape, inMeta('m'), inStage('s'))}
        LEFT JOIN ${shape.relation} AS d ON ${keysEqual(shape, inData('d'), inStage('s'))}
      WHERE (${verdict}) = 'concurrent'${after ? ` AND ${later}` : ''} ORDER BY ${metaKeys(shape, 'm')} LIMIT ${concurrentBatch}
    ), sized AS (
      SELECT c.*, count(*) OVER () AS found,
        coalesce(sum(${['octet_length(c.siblings::text)', 'octet_length(c.v6::text)']
          .map((size) => `coalesce(${size}, 0)`)
          .concat(sizes)
          .join(' + ')})
          OVER (ORDER BY ${order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS bytes_before
      FROM found AS c
    )
    SELECT ${textKey(shape, 'c')} AS key, c.found, c.fresh, c.fresh AND c.deleted AND ${our}.${ours[0]!.at} IS DISTINCT FROM NULL AS unversioned,
      c.stamp, c.origin, c.priority, c.past, c.fields, c.siblings, c.deleted, ${made('c')} AS made, c.xid::text, ${imageOf(ours, our)} AS image,
      c.v1, c.v2, c.v3, c.v4, c.v5, c.v6, c.v7, c.v8, c.v9, ${imageOf(theirs)} AS staged
    FROM sized AS c WHERE c.bytes_before < ${concurrentBytes} ORDER BY ${order}`;
}

/** A row as a JSON object of texts: what each type's output function prints, never a JSON number. */
export function imageOf(columns: readonly (Column & { readonly at: string })[], alias = 'c'): string {
  const names = columns.map(({ name }) => `'${name.replace(/'/g, "''")}'`).join(', ');
  const values = columns.map((column) => printed(column, `${alias}.${column.at}`)).join(', ');
  return `jsonb_object(ARRAY[${names}]::text[], ARRAY[${values}]::text[])`;
}
