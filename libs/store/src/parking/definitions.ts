import { constraintsOf } from '@pgmesh/core';
import type { Queryable } from '../database';

/**
 * What keeps rows out of the shared tables or apart, as peers are told it (libs/core: constraintsOf), by the tables' ids. What makes no difference
 * to which rows stand is left out: names, the order of columns, whether a check is deferred or has been validated, what becomes of children.
 */
export async function readDefinitions(db: Queryable): Promise<ReadonlyMap<number, readonly string[]>> {
  const { rows } = await db.query<{ id: number; definitions: string[] }>(definitionsQuery);
  return new Map(rows.map(({ id, definitions }) => [id, constraintsOf(definitions)]));
}

const operatorName = (operator: string) => `(SELECT o.oprname FROM pg_operator AS o WHERE o.oid = ${operator})`;

/** Columns of a foreign key: pairs are sorted by the referring one, so that their order makes no difference. */
const pairs = (
  attribute: string,
) => `(SELECT string_agg(quote_ident(${attribute}.attname), ', ' ORDER BY a.attname COLLATE "C")
  FROM unnest(c.conkey, c.confkey) AS k (child, parent)
    JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.child
    JOIN pg_attribute AS b ON b.attrelid = c.confrelid AND b.attnum = k.parent)`;

const definitionsQuery = `
  WITH RECURSIVE member AS (
    SELECT t.id, t.relation::oid AS oid, t.relation::oid AS root, '' AS part FROM p2p.tracked_table AS t
    -- What a partition has for itself is about the rows that it takes; its name says nothing.
    UNION ALL SELECT t.id, p.relid, t.relation, (
        SELECT ' ON PARTITION ' || string_agg(pg_get_expr(r.relpartbound, r.oid), ' ' ORDER BY n.place DESC)
        FROM pg_partition_ancestors(p.relid) WITH ORDINALITY AS n (relid, place) JOIN pg_class AS r ON r.oid = n.relid WHERE r.relispartition)
    FROM p2p.tracked_table AS t, pg_partition_tree(t.relation) AS p WHERE p.relid <> t.relation
  ), base AS (
    SELECT t.oid AS type, t.oid AS domain, t.typbasetype AS next FROM pg_type AS t WHERE t.typtype = 'd'
    UNION ALL SELECT b.type, t.oid, t.typbasetype FROM base AS b JOIN pg_type AS t ON t.oid = b.next WHERE t.typtype = 'd'
  ), attribute AS (
    SELECT m.id, m.oid, m.root, m.part, a.attnum, a.attname, a.attnotnull, a.atttypid FROM member AS m JOIN pg_attribute AS a ON a.attrelid = m.oid
    WHERE a.attnum > 0 AND NOT a.attisdropped
  ), definition AS (
    SELECT m.id, concat(
        CASE WHEN x.indisexclusion THEN 'EXCLUDE USING ' || quote_ident(h.amname) ELSE 'UNIQUE' END,
        ' (', p.parts, ')', CASE WHEN x.indnullsnotdistinct THEN ' NULLS NOT DISTINCT' END,
        ' WHERE (' || pg_get_expr(x.indpred, x.indrelid) || ')', m.part) AS text
    FROM member AS m JOIN pg_index AS x ON x.indrelid = m.oid JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_am AS h ON h.oid = i.relam
      LEFT JOIN pg_constraint AS c ON c.conindid = x.indexrelid AND c.conrelid = x.indrelid AND c.contype IN ('u', 'x'),
      LATERAL (
        SELECT string_agg(e.part, ', ' ORDER BY e.part COLLATE "C") AS parts FROM (
          SELECT concat(pg_get_indexdef(x.indexrelid, k.n, false),
            -- Equal to a collation that is deterministic is what is the same.
            (SELECT ' COLLATE ' || quote_ident(o.collname) FROM pg_collation AS o WHERE o.oid = x.indcollation[k.n - 1] AND NOT o.collisdeterministic),
            CASE WHEN x.indisexclusion THEN ' WITH ' || ${operatorName('c.conexclop[k.n]')} END) AS part
          FROM generate_series(1, x.indnkeyatts::int4) AS k (n)) AS e
      ) AS p
    WHERE NOT x.indisprimary AND (x.indisunique OR x.indisexclusion) AND x.indisready AND (m.part = '' OR NOT i.relispartition)
    UNION ALL
    SELECT m.id, concat('CHECK (', pg_get_expr(c.conbin, c.conrelid), ')', m.part)
    FROM member AS m JOIN pg_constraint AS c ON c.conrelid = m.oid AND c.contype = 'c'
    WHERE (m.part = '' OR c.coninhcount = 0) AND to_jsonb(c) ->> 'conenforced' IS DISTINCT FROM 'false'
    UNION ALL
    SELECT m.id, concat('FOREIGN KEY (', ${pairs('a')}, format(') REFERENCES %I.%I (', n.nspname, r.relname), ${pairs('b')}, ')',
      CASE WHEN c.confmatchtype = 'f' THEN ' MATCH FULL' END, m.part)
    FROM member AS m JOIN pg_constraint AS c ON c.conrelid = m.oid AND c.contype = 'f'
      JOIN pg_class AS r ON r.oid = c.confrelid JOIN pg_namespace AS n ON n.oid = r.relnamespace
    WHERE c.conparentid = 0 AND to_jsonb(c) ->> 'conenforced' IS DISTINCT FROM 'false'
    UNION ALL
    SELECT a.id, concat('NOT NULL ', quote_ident(a.attname), a.part) FROM attribute AS a
    WHERE NOT EXISTS (SELECT FROM pg_index AS x WHERE x.indrelid = a.oid AND x.indisprimary AND a.attnum = ANY (x.indkey))
      AND (a.attnotnull OR EXISTS (SELECT FROM base AS b JOIN pg_type AS t ON t.oid = b.domain WHERE b.type = a.atttypid AND t.typnotnull))
      AND (a.part = '' OR a.attnotnull AND NOT EXISTS (
        SELECT FROM pg_attribute AS o WHERE o.attrelid = a.root AND o.attname = a.attname AND o.attnotnull))
    UNION ALL
    SELECT a.id, concat('CHECK (', pg_get_expr(c.conbin, 0), ') IN THE DOMAIN OF ', quote_ident(a.attname))
    FROM attribute AS a JOIN base AS b ON b.type = a.atttypid JOIN pg_constraint AS c ON c.contypid = b.domain AND c.contype = 'c' WHERE a.part = ''
  )
  SELECT t.id, array_remove(array_agg(d.text), NULL) AS definitions
  FROM p2p.tracked_table AS t LEFT JOIN definition AS d ON d.id = t.id GROUP BY t.id`;
