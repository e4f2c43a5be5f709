import type { Queryable } from '../database';

/** What keeps the rows of a table apart besides its primary key: a unique index, or an exclusion constraint. */
export interface KeyConstraint {
  readonly name: string;
  /** The id of the table. */
  readonly table: number;
  /** Two rows of which all parts answer to their operators cannot stand beside each other. SQL over bare column names. */
  readonly parts: readonly { readonly sql: string; readonly operator: string }[];
  /** Which rows it is about; null for all. */
  readonly predicate: string | null;
  /** NULLS NOT DISTINCT */
  readonly nullsEqual: boolean;
  /** Its operators need not be those of equality. */
  readonly exclusion: boolean;
  /** Checked by triggers, which do not fire in replica role. */
  readonly deferrable: boolean;
}

/** One end of a foreign key: a table or a partition of one. */
export interface ReferenceEnd {
  /** The id of the table; null where it is not shared. */
  readonly table: number | null;
  /** In SQL. */
  readonly relation: string;
}

export interface Reference {
  readonly name: string;
  readonly child: ReferenceEnd;
  readonly parent: ReferenceEnd;
  readonly columns: readonly {
    readonly child: string;
    readonly parent: string;
    readonly type: string;
    readonly equals: string;
  }[];
  /** MATCH FULL: a row of which some columns are NULL and others are not refers to nothing that could be. */
  readonly full: boolean;
  /** To the parent's primary key, or to other unique columns. */
  readonly toPrimaryKey: boolean;
  /** Whether what refers and what is referred to are of the same types, and so of the same text. */
  readonly sameTypes: boolean;
}

/** The constraints between the rows of the shared tables. */
export interface Constraints {
  readonly keys: readonly KeyConstraint[];
  readonly references: readonly Reference[];
  /** Of every table the sum of the constraints that its triggers check (see p2p.assert_constraints). */
  readonly triggers: ReadonlyMap<number, number>;
}

export const noConstraints: Constraints = { keys: [], references: [], triggers: new Map() };

export async function readConstraints(db: Queryable): Promise<Constraints> {
  const { rows: keys } = await db.query<KeyConstraint>(keysQuery);
  const { rows: references } = await db.query<Reference>(referencesQuery);
  const { rows: sums } = await db.query<{ id: number; sum: number }>(
    `SELECT t.id, coalesce(sum(g.tgconstraint::int8), 0)::int8 AS sum FROM p2p.tracked_table AS t
       LEFT JOIN pg_trigger AS g ON g.tgrelid = t.relation GROUP BY t.id`,
  );
  return { keys, references, triggers: new Map(sums.map(({ id, sum }) => [id, sum])) };
}

/** A column's name, of it as it stands in SQL. */
export function unquoted(ident: string): string {
  return ident.startsWith('"') ? ident.slice(1, -1).replace(/""/g, '"') : ident;
}

/** The tables that foreign keys connect with these, by their ids, themselves included. */
export function connected({ references }: Constraints, tables: Iterable<number>): Set<number> {
  const all = new Set(tables);
  for (let before = -1; before !== all.size;) {
    before = all.size;
    for (const { child, parent } of references) {
      if (child.table === null || parent.table === null) continue;
      if (all.has(child.table) || all.has(parent.table)) all.add(child.table).add(parent.table);
    }
  }
  return all;
}

/**
 * Whether what a window does to a table is told from its metadata alone: else its windows are always merged the long way. Deferrable
 * keys are watched by triggers, which keep out of a merge; of a reference to other columns than the primary key nobody says
 * what they were.
 */
export function watched({ keys, references }: Constraints, table: number): boolean {
  return (
    !keys.some((key) => key.table === table && key.deferrable) &&
    !references.some(({ parent, toPrimaryKey }) => parent.table === table && !toPrimaryKey)
  );
}

const named = (operator: string) => `(SELECT format('%I.%s', n.nspname, o.oprname) FROM pg_operator AS o
  JOIN pg_namespace AS n ON n.oid = o.oprnamespace WHERE o.oid = ${operator})`;

const keysQuery = `
  -- A partition can have keys of its own: they are about the rows that it takes.
  WITH member AS (
    SELECT t.id, t.relation::oid AS oid, NULL AS taken FROM p2p.tracked_table AS t
    UNION ALL SELECT t.id, p.relid, pg_get_partition_constraintdef(p.relid)
    FROM p2p.tracked_table AS t, pg_partition_tree(t.relation) AS p WHERE p.relid <> t.relation
  )
  SELECT coalesce(c.conname, i.relname) AS name, t.id AS table, NOT x.indimmediate AS deferrable, x.indnullsnotdistinct AS "nullsEqual",
    x.indisexclusion AS exclusion, p.parts,
    CASE WHEN t.taken IS NULL THEN pg_get_expr(x.indpred, x.indrelid)
      ELSE concat(t.taken, ' AND (' || pg_get_expr(x.indpred, x.indrelid) || ')') END AS predicate
  FROM member AS t JOIN pg_index AS x ON x.indrelid = t.oid JOIN pg_class AS i ON i.oid = x.indexrelid
    LEFT JOIN pg_constraint AS c ON c.conindid = x.indexrelid AND c.conrelid = x.indrelid AND c.contype IN ('u', 'x'),
    LATERAL (
      SELECT json_agg(json_build_object(
        'sql', '(' || pg_get_indexdef(x.indexrelid, k.n, false) || ')'
          || coalesce((SELECT format(' COLLATE %I.%I', n.nspname, o.collname) FROM pg_collation AS o
            JOIN pg_namespace AS n ON n.oid = o.collnamespace WHERE o.oid = x.indcollation[k.n - 1]), ''),
        'operator', CASE WHEN x.indisexclusion THEN ${named('c.conexclop[k.n]')} ELSE ${named(`(
          SELECT m.amopopr FROM pg_opclass AS s JOIN pg_amop AS m ON m.amopfamily = s.opcfamily AND m.amopstrategy = 3
            AND m.amoplefttype = s.opcintype AND m.amoprighttype = s.opcintype WHERE s.oid = x.indclass[k.n - 1])`)} END
      ) ORDER BY k.n) AS parts
      FROM generate_series(1, x.indnkeyatts::int4) AS k (n)
    ) AS p
  WHERE NOT x.indisprimary AND (x.indisunique OR x.indisexclusion) AND x.indisready
    AND (t.taken IS NULL OR NOT i.relispartition)
  ORDER BY t.id, x.indexrelid`;

const referencesQuery = `
  WITH member AS (
    SELECT t.id, t.relation::oid AS oid FROM p2p.tracked_table AS t
    UNION SELECT t.id, p.relid FROM p2p.tracked_table AS t, pg_partition_tree(t.relation) AS p
  )
  SELECT c.conname AS name,
    json_build_object('table', child.id, 'relation', (SELECT format('%I.%I', n.nspname, r.relname) FROM pg_class AS r
      JOIN pg_namespace AS n ON n.oid = r.relnamespace WHERE r.oid = c.conrelid)) AS child,
    json_build_object('table', parent.id, 'relation', (SELECT format('%I.%I', n.nspname, r.relname) FROM pg_class AS r
      JOIN pg_namespace AS n ON n.oid = r.relnamespace WHERE r.oid = c.confrelid)) AS parent,
    (SELECT json_agg(json_build_object('child', quote_ident(a.attname), 'parent', quote_ident(b.attname), 'type', format_type(a.atttypid, -1), 'equals', ${named('k.operator')}) ORDER BY k.place)
      FROM unnest(c.conkey, c.confkey, c.conpfeqop) WITH ORDINALITY AS k (child, parent, operator, place)
        JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.child
        JOIN pg_attribute AS b ON b.attrelid = c.confrelid AND b.attnum = k.parent) AS columns,
    (SELECT bool_and(a.atttypid = b.atttypid) FROM unnest(c.conkey, c.confkey) AS k (child, parent)
      JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.child
      JOIN pg_attribute AS b ON b.attrelid = c.confrelid AND b.attnum = k.parent) AS "sameTypes",
    c.confmatchtype = 'f' AS full,
    EXISTS (SELECT FROM pg_index AS x WHERE x.indexrelid = c.conindid AND x.indisprimary) AS "toPrimaryKey"
  FROM pg_constraint AS c LEFT JOIN member AS child ON child.oid = c.conrelid LEFT JOIN member AS parent ON parent.oid = c.confrelid
  WHERE c.contype = 'f' AND c.conparentid = 0 AND (child.id IS NOT NULL OR parent.id IS NOT NULL)
    -- NOT ENFORCED came with PostgreSQL 18.
    AND to_jsonb(c) ->> 'conenforced' IS DISTINCT FROM 'false'
  ORDER BY c.oid`;
