import type { ColumnForm, TableForm } from '@pgmesh/core';
import type { Queryable } from './database';
import type { ParkedNote } from './parking/record';

/** A column that is sent: all but generated ones, which every node computes for itself. */
export interface Column {
  readonly name: string;
  /** The name, quoted where it must be. */
  readonly ident: string;
  /** The type without its modifier, qualified where it is a user's. */
  readonly type: string;
  /** The same under its domains, where a tombstone's NULL may stand (a domain can be NOT NULL); assignment checks the domain. */
  readonly base: string;
  /** The type with its modifier: what a value that is put into the column becomes. */
  readonly declared: string;
  /** The same under its domains: what peers compare. */
  readonly plain: string;
  /** Whether an array of the type can carry it; the others (arrays, composites, xml) travel as text and are cast back. */
  readonly transport: 'array' | 'text';
  /** How to tell a value's size without reading it: by its octets, twice that (bytea as hex), as stored, or fixed. */
  readonly size: 'octets' | 'hex' | 'stored' | 'fixed';
  /** Of xml the output function prints less than what is stored (no declaration), and only a cast to text gives all of it. */
  readonly xml: boolean;
  /** GENERATED ALWAYS AS IDENTITY: may be inserted with OVERRIDING SYSTEM VALUE, never updated. */
  readonly always: boolean;
}

export interface KeyColumn extends Column {
  /** `base` with its collation: for the metadata table. Users may tighten domains. */
  readonly definition: string;
  /** The operators of the primary key's index, qualified: `pg_catalog.=`, `pg_catalog.>`. */
  readonly equals: string;
  readonly after: string;
  /** Whether equal keys are the same bytes, as 1.0 and 1.00 are not: such a column never has to be updated. */
  readonly settled: boolean;
}

/** What there is of a table besides while it is decided which of its rows stand (parking/lift.ts). */
export interface Lifted {
  /** A table that refuses what the table refuses of one row by itself. */
  readonly trial: string;
  /** Gets the rows that were parked because their types cannot read them. */
  readonly unread: ParkedNote[];
}

/** A shared table as its catalog describes it. */
export interface TableShape {
  readonly id: number;
  readonly oid: number;
  /** `schema.table`, each part quoted where it must be: its name among peers. */
  readonly name: string;
  /** Where its rows lie, in SQL: the table; while they are settled, what they were lifted into (parking/lift.ts). */
  readonly relation: string;
  /** While they are settled. */
  readonly lifted?: Lifted;
  /** The two parts of the name as they are, unquoted. */
  readonly schema: string;
  readonly table: string;
  /** `p2p.meta_<id>`. */
  readonly meta: string;
  /** `p2p.history_<id>`, which is there while `maxVersions` is not 0. */
  readonly history: string;
  /** How many of a row's last versions are kept with their images. */
  readonly maxVersions: number;
  /** Of rows that cannot stand beside each other the older stands (libs/core: isOldestFirst); its versions then bear their rows' age. */
  readonly oldestFirst: boolean;
  readonly key: readonly KeyColumn[];
  /** All columns that are sent, the key's first. */
  readonly columns: readonly Column[];
  /** What peers are told of it. */
  readonly form: TableForm;
  /** Differs whenever the table was renamed, or a column was added, dropped, renamed or retyped. */
  readonly fingerprint: string;
}

/** The fingerprint of the relation whose oid is `relation`: its name as it is now, its columns as of the present snapshot. */
export const fingerprintOf = (relation: string): string =>
  `(SELECT ${relation}::regclass || ' ' || sum(hashtextextended(concat_ws(' ', f.attnum, f.attname, f.atttypid, f.atttypmod, f.attgenerated, f.attidentity), 0))::text
    FROM pg_attribute AS f WHERE f.attrelid = ${relation} AND f.attnum > 0 AND NOT f.attisdropped)`;

/** A table is not what its shape says. */
export class ShapeChanged extends Error {}

/** Columns may have come or gone since we last looked: none of their values may be left out (invariant 6). */
export async function assertShapes(db: Queryable, shapes: readonly TableShape[]): Promise<void> {
  if (shapes.length === 0) return;
  const { rows } = await db.query<{ fingerprint: string | null }>({
    name: 'p2p_fingerprints',
    text: `SELECT ${fingerprintOf('o.oid')} AS fingerprint FROM unnest($1::oid[]) WITH ORDINALITY AS o (oid, i) ORDER BY o.i`,
    values: [shapes.map((shape) => shape.oid)],
  });
  const changed = shapes.find((shape, i) => shape.fingerprint !== rows[i]!.fingerprint);
  if (changed) throw new ShapeChanged(`The columns of ${changed.name} have changed`);
}

interface ColumnRow {
  relation: number;
  name: string;
  ident: string;
  type: string;
  base: string;
  declared: string;
  plain: string;
  generated: boolean;
  optional: boolean;
  more: string;
  definition: string;
  as_text: boolean;
  xml: boolean;
  settled: boolean;
  size: Column['size'];
  always: boolean;
  key_position: number | null;
  equals: string | null;
  after: string | null;
}

/** The shapes of the tracked tables, or of one of them, by id. Columns come from the catalog, never from a request. */
export async function readShapes(db: Queryable, id: number | null = null): Promise<TableShape[]> {
  const { rows: tables } = await db.query<
    Omit<TableShape, 'relation' | 'meta' | 'history' | 'key' | 'columns' | 'form'>
  >(
    `SELECT t.id, t.relation::oid::int8 AS oid, format('%I.%I', n.nspname, c.relname) AS name,
       n.nspname AS schema, c.relname AS table, t.max_versions AS "maxVersions", t.oldest_first AS "oldestFirst",
       ${fingerprintOf('c.oid')} AS fingerprint
     FROM p2p.tracked_table AS t JOIN pg_class AS c ON c.oid = t.relation JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE $1::int4 IS NULL OR t.id = $1 ORDER BY t.name`,
    [id],
  );
  const { rows: columns } = await db.query<ColumnRow>(columnsQuery, [tables.map((table) => table.oid)]);
  return tables.map((table) => {
    const all = columns.filter((column) => column.relation === table.oid);
    const own = all.filter(({ generated }) => !generated);
    const key = own
      .filter((column) => column.key_position !== null)
      .sort((a, b) => a.key_position! - b.key_position!)
      .map(toKeyColumn);
    const rest = own.filter((column) => column.key_position === null).map(toColumn);
    const names = { relation: table.name, meta: `p2p.meta_${table.id}`, history: `p2p.history_${table.id}` };
    const form = { key: key.map(({ name }) => name), columns: all.map(toColumnForm) };
    return { ...table, ...names, key, columns: [...key, ...rest], form };
  });
}

function toColumn({ name, ident, type, base, declared, plain, as_text, size, xml, always }: ColumnRow): Column {
  return { name, ident, type, base, declared, plain, transport: as_text ? 'text' : 'array', size, xml, always };
}

function toColumnForm({ name, declared, plain, generated, optional, more }: ColumnRow): ColumnForm {
  return { name, type: declared, base: plain, generated, optional, more };
}

function toKeyColumn(row: ColumnRow): KeyColumn {
  return {
    ...toColumn(row),
    definition: row.definition,
    equals: row.equals!,
    after: row.after!,
    settled: row.settled,
  };
}

const columnsQuery = `
  WITH RECURSIVE base AS (
    SELECT t.oid AS type, t.oid AS base, NULL::int4 AS modifier, false AS filled, false AS required FROM pg_type AS t WHERE t.typtype <> 'd'
    UNION ALL
    SELECT t.oid, b.base, coalesce(nullif(b.modifier, -1), t.typtypmod), b.filled OR t.typdefault IS NOT NULL, b.required OR t.typnotnull
    FROM pg_type AS t JOIN base AS b ON b.type = t.typbasetype WHERE t.typtype = 'd'
  )
  SELECT a.attrelid::int8 AS relation, a.attname AS name, quote_ident(a.attname) AS ident,
    format_type(a.atttypid, -1) AS type,
    format_type(b.oid, -1) AS base,
    format_type(a.atttypid, a.atttypmod) AS declared,
    format_type(b.oid, coalesce(d.modifier, a.atttypmod)) AS plain,
    a.attgenerated <> '' AS generated,
    NOT (a.attnotnull OR d.required) OR a.atthasdef OR d.filled OR a.attidentity <> '' AS optional,
    concat_ws(' ', CASE WHEN a.attnotnull THEN 'NOT NULL' END,
      CASE WHEN a.attidentity <> '' THEN 'GENERATED BY DEFAULT AS IDENTITY'
        WHEN a.attgenerated = '' THEN 'DEFAULT ' || pg_get_expr(f.adbin, f.adrelid) END) AS more,
    format_type(b.oid, -1)
      || CASE WHEN a.attcollation <> 0 THEN (SELECT format(' COLLATE %I.%I', n.nspname, o.collname)
           FROM pg_collation AS o JOIN pg_namespace AS n ON n.oid = o.collnamespace WHERE o.oid = a.attcollation) ELSE '' END AS definition,
    b.typcategory = 'A' OR b.typelem <> 0 AND b.typlen = -1 OR b.typtype = 'c' OR t.typarray = 0 OR b.oid = 'xml'::regtype AS as_text,
    b.oid = 'xml'::regtype AS xml,
    CASE WHEN b.typlen <> -1 THEN 'fixed' WHEN b.oid = 'bytea'::regtype THEN 'hex'
      WHEN b.oid IN ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype) THEN 'octets' ELSE 'stored' END AS size,
    a.attidentity = 'a' AS always,
    -- Support function 4 of a btree family says that equal is identical, for text where its collation is deterministic.
    coalesce(o.collisdeterministic, true) AND EXISTS (SELECT FROM pg_amproc AS e WHERE e.amprocfamily = k.opcfamily
      AND e.amproclefttype = k.opcintype AND e.amprocrighttype = k.opcintype AND e.amprocnum = 4) AS settled,
    k.position AS key_position,
    (SELECT format('%I.%s', n.nspname, o.oprname) FROM pg_amop AS m JOIN pg_operator AS o ON o.oid = m.amopopr
       JOIN pg_namespace AS n ON n.oid = o.oprnamespace
       WHERE m.amopfamily = k.opcfamily AND m.amoplefttype = k.opcintype AND m.amoprighttype = k.opcintype AND m.amopstrategy = 3) AS equals,
    (SELECT format('%I.%s', n.nspname, o.oprname) FROM pg_amop AS m JOIN pg_operator AS o ON o.oid = m.amopopr
       JOIN pg_namespace AS n ON n.oid = o.oprnamespace
       WHERE m.amopfamily = k.opcfamily AND m.amoplefttype = k.opcintype AND m.amoprighttype = k.opcintype AND m.amopstrategy = 5) AS after
  FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid JOIN base AS d ON d.type = t.oid JOIN pg_type AS b ON b.oid = d.base
  LEFT JOIN pg_attrdef AS f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
  LEFT JOIN pg_collation AS o ON o.oid = a.attcollation
  LEFT JOIN LATERAL (
    SELECT i.position::int4, c.opcfamily, c.opcintype FROM pg_index AS x,
      unnest(x.indkey::int2[], x.indclass::oid[]) WITH ORDINALITY AS i (attnum, opclass, position)
      JOIN pg_opclass AS c ON c.oid = i.opclass
    WHERE x.indrelid = a.attrelid AND x.indisprimary AND i.attnum = a.attnum
  ) AS k ON true
  WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
  ORDER BY a.attrelid, a.attnum`;
