import type { Snapshot } from '@pgmesh/core';
import type { Column, TableShape } from '../table-shape';
import { inData, inMeta, keysEqual } from '../keys';
import { madeAt, madeIn } from '../made-sql';
import { isExpected, isLacking, type LeftOutArgs } from './left-out';

/**
 * How many of a window's version columns come before the table's own (libs/wire: versionColumns). The fields of a parked row are those of the row that
 * would stand: its versions have their own.
 */
const version = [
  'm.stamp',
  'm.origin',
  'm.priority',
  'm.past',
  'CASE WHEN NOT m.deleted THEN m.fields END',
  'm.siblings',
];

/** Those that come after `deleted`: where the version was made; NULL for our own feed. */
const made = [madeIn('m'), `${madeAt('m')}::text::int8`];

/**
 * Which versions a window has: two index conditions, never one OR, which would read the whole index (15 ms against 0.1 ms on
 * 200,000 rows). `below` is null where the window is not cut; with `expected` those that are held back for others to bring. All
 * arguments are SQL: parameters or literals.
 */
export function windowCondition(
  shape: TableShape,
  columns: string,
  args: LeftOutArgs & { from: string; below: string | null; xip: string; expected?: boolean },
): string {
  const { later, expected = false } = args;
  const isIn = !later
    ? isLacking(args)
    : expected
      ? `${isLacking(args)} AND ${isExpected(later)}`
      : `${isLacking(args)} AND (${later.from} IS NULL OR v.xid < ${later.from} OR NOT ${isExpected(later)})`;
  return `(SELECT ${columns} FROM ${shape.meta} AS v WHERE v.xid >= ${args.from}${args.below ? ` AND v.xid < ${args.below}` : ''} AND ${isIn}
    UNION ALL SELECT ${columns} FROM ${shape.meta} AS v WHERE v.xid = ANY (${args.xip}) AND ${isIn})`;
}

/** The versions of a table that are news since a snapshot. */
export function versionsSince(shape: TableShape, { xmax, xip }: Snapshot): string {
  const open = `'{${xip.join(',')}}'::xid8[]`;
  return windowCondition(shape, 'v.*', { from: `'${xmax}'::xid8`, below: null, xip: open, except: `'{}'::text[]` });
}

/**
 * The rows of a window or piece: version columns, then the table's, named v1…v9 and c1…cn. A row that should be there and is
 * not ends the query (see p2p.torn). A parked or deleted row has its key alone.
 */
export function rowsQuery(shape: TableShape, versions: string): string {
  const present = `CASE WHEN d.${shape.key[0]!.ident} IS NOT DISTINCT FROM NULL AND NOT m.deleted THEN p2p.torn('${shape.name.replace(/'/g, "''")}') ELSE m.deleted END`;
  const columns = shape.columns.map((column, i) => {
    const value = i < shape.key.length ? `coalesce(d.${column.ident}, m.key${i + 1})` : `d.${column.ident}`;
    return `${column.xml ? `${value}::text` : value} AS c${i + 1}`;
  });
  return `SELECT ${[...version, present, ...made].map((sql, i) => `${sql} AS v${i + 1}`).join(', ')}, ${columns.join(', ')}
    FROM ${versions} AS m LEFT JOIN ${shape.name} AS d ON ${keysEqual(shape, inData('d'), inMeta('m'))}`;
}

/**
 * A value as its type's output function prints it: a cast to text may do something else (character(n) loses its blanks). IS NULL
 * would take a composite value for NULL that has nothing in it.
 */
export function printed({ xml }: Column, value: string): string {
  return xml ? `${value}::text` : `CASE WHEN ${value} IS DISTINCT FROM NULL THEN concat(${value}) END`;
}

/**
 * A whole small window as one row: its size, and one array literal a column, which is left out when the size is above $max so
 * that a few large values do not fill memory. Sizes are told from headers, without reading what is stored out of line.
 */
export function columnarQuery(shape: TableShape, versions: string, max: string): string {
  const siblings = sizeOf({ size: 'stored' }, 'w.v6');
  const sizes = shape.columns.flatMap((column, i) => sizeOf(column, `w.c${i + 1}`)).concat(siblings);
  const leading = version.length + 1 + made.length;
  const literals = [...version, 'deleted', ...made]
    .map((_, i) => `w.v${i + 1}`)
    .concat(shape.columns.map((_, i) => `w.c${i + 1}`));
  return `WITH w AS MATERIALIZED (${rowsQuery(shape, versions)}),
    size AS MATERIALIZED (SELECT coalesce(sum(${['0', ...sizes].join(' + ')}), 0)::int8 AS bytes FROM w)
    SELECT count(w.v1) AS count, count(*) FILTER (WHERE w.v7) AS deleted, size.bytes, ${literals
      .map((sql, i) => {
        const column = shape.columns[i - leading];
        const value = column?.transport === 'text' ? printed(column, sql) : sql;
        return `array_agg(${value}) FILTER (WHERE size.bytes <= ${max})::text AS l${i + 1}`;
      })
      .join(', ')} FROM size LEFT JOIN w ON true GROUP BY size.bytes`;
}

/** What the column adds to a window's size, in bytes; compressed values count as if they were of the most compressible kind. */
export function sizeOf(column: Pick<Column, 'size'>, value: string): string[] {
  if (column.size === 'fixed') return [];
  const bytes = {
    octets: `octet_length(${value})`,
    hex: `2 * octet_length(${value})`,
    stored: `pg_column_size(${value}) * CASE WHEN pg_column_compression(${value}) IS NULL THEN 1 ELSE 32 END`,
  };
  return [`coalesce(${bytes[column.size]}::int8, 0)`];
}
