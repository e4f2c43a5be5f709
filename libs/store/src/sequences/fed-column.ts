import type { Queryable } from '../database';

/** A column of a unique key whose values a sequence draws: serial, identity, or a default with nextval. */
export interface FedColumn {
  /** The shared table. */
  readonly relation: number;
  readonly table: string;
  /** Its name as it is, and quoted where it must be. */
  readonly column: string;
  readonly ident: string;
  /** `schema.sequence`, each part quoted where it must be; null where the default finds it by its name at each insert. */
  readonly sequence: string | null;
  /** Whether the column has the numbers as they were drawn. They may be part of a text, or of a formula, as well. */
  readonly plain: boolean;
  /** Whether one index finds the column's highest value: of a partitioned table each partition has its own. */
  readonly indexed: boolean;
  readonly increment: bigint;
  readonly start: bigint;
  /** Within which the sequence counts and the column's type has room. */
  readonly min: bigint;
  readonly max: bigint;
  readonly cycle: boolean;
  /** Whether sessions draw numbers in advance (CACHE). */
  readonly cached: boolean;
  /** Whether the node's role may read and alter the sequence. */
  readonly ours: boolean;
}

type FedRow = Omit<FedColumn, 'increment' | 'start' | 'min' | 'max'> &
  Record<'increment' | 'start' | 'min' | 'max', string>;

/** The columns of unique keys of these tables and their partitions that sequences feed, by table, column and sequence. */
export async function readFedColumns(db: Queryable, relations: readonly number[]): Promise<FedColumn[]> {
  if (relations.length === 0) return [];
  const { rows } = await db.query<FedRow>({ name: 'p2p_fed_columns', text: fedColumnsQuery, values: [relations] });
  return rows.map((row) => ({
    ...row,
    increment: BigInt(row.increment),
    start: BigInt(row.start),
    min: BigInt(row.min),
    max: BigInt(row.max),
  }));
}

/** The steps in which a sequence counts as of now. */
export async function readIncrement(db: Queryable, sequence: string): Promise<bigint> {
  const { rows } = await db.query<{ increment: string }>(
    'SELECT seqincrement::text AS increment FROM pg_sequence WHERE seqrelid = $1::regclass',
    [sequence],
  );
  return BigInt(rows[0]!.increment);
}

const fedColumnsQuery = `
  WITH RECURSIVE base AS (
    SELECT t.oid AS type, t.oid AS base FROM pg_type AS t WHERE t.typtype <> 'd'
    UNION ALL
    SELECT t.oid, b.base FROM pg_type AS t JOIN base AS b ON b.type = t.typbasetype WHERE t.typtype = 'd'
  ), relation AS (
    SELECT o.oid AS root, coalesce(p.relid::oid, o.oid) AS oid
    FROM unnest($1::oid[]) AS o (oid) LEFT JOIN LATERAL pg_partition_tree(o.oid) AS p ON true
  ), fed AS (
    -- Identity columns: the sequence is a part of the column.
    SELECT r.root, a.attname, d.objid AS sequence, true AS plain
    FROM relation AS r JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attidentity <> ''
      JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
        AND d.classid = 'pg_class'::regclass AND d.deptype = 'i'
      JOIN pg_sequence AS s ON s.seqrelid = d.objid
    UNION
    -- Defaults: those that name the sequence depend on it.
    SELECT r.root, a.attname, s.seqrelid, pg_get_expr(f.adbin, f.adrelid) ~ '^nextval\\(''[^()]+''::regclass\\)$'
    FROM relation AS r JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attgenerated = ''
      JOIN pg_attrdef AS f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
      LEFT JOIN (pg_depend AS d JOIN pg_sequence AS s ON s.seqrelid = d.refobjid)
        ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass
    WHERE s.seqrelid IS NOT NULL OR pg_get_expr(f.adbin, f.adrelid) ~ '\\mnextval\\('
  )
  SELECT f.root::int8 AS relation, format('%I.%I', n.nspname, c.relname) AS "table", a.attname AS "column", quote_ident(a.attname) AS ident,
    CASE WHEN q.oid IS NOT NULL THEN format('%I.%I', m.nspname, q.relname) END AS sequence,
    f.plain AND b.base IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype) AS plain,
    c.relkind = 'r' AND EXISTS (SELECT FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_am AS e ON e.oid = i.relam
      WHERE x.indrelid = f.root AND x.indkey[0] = a.attnum AND x.indpred IS NULL AND x.indisvalid AND e.amname = 'btree') AS indexed,
    coalesce(s.seqincrement, 1)::text AS increment, coalesce(s.seqstart, 1)::text AS start,
    greatest(s.seqmin, CASE b.base WHEN 'int2'::regtype THEN -32768 WHEN 'int4'::regtype THEN -2147483648 ELSE -9223372036854775808 END)::text AS min,
    least(s.seqmax, CASE b.base WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647 ELSE 9223372036854775807 END)::text AS max,
    coalesce(s.seqcycle, false) AS cycle, coalesce(s.seqcache > 1, false) AS cached,
    q.oid IS NOT NULL AND pg_has_role(q.relowner, 'USAGE') AS ours
  FROM fed AS f JOIN pg_class AS c ON c.oid = f.root JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = f.root AND a.attname = f.attname
    JOIN base AS b ON b.type = a.atttypid
    LEFT JOIN pg_class AS q ON q.oid = f.sequence LEFT JOIN pg_namespace AS m ON m.oid = q.relnamespace
    LEFT JOIN pg_sequence AS s ON s.seqrelid = f.sequence
  WHERE EXISTS (SELECT FROM relation AS r JOIN pg_index AS x ON x.indrelid = r.oid
    JOIN pg_attribute AS k ON k.attrelid = r.oid AND k.attname = f.attname
    WHERE r.root = f.root AND x.indisunique AND k.attnum = ANY ((x.indkey::int2[])[0:x.indnkeyatts - 1]))
  ORDER BY 2, 3, 5`;
