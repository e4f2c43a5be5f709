import type { Pool } from 'pg';
import type { Queryable } from './database';

/** Something about a table or the database that pgmesh cannot work with (error) or that users should know (warning). */
export interface Finding {
  readonly level: 'error' | 'warning';
  /** The table, or null where it concerns the database. */
  readonly table: string | null;
  readonly problem: string;
  readonly remedy: string;
}

/** A table that was asked for and can be shared. */
export interface Chosen {
  readonly oid: number;
  readonly name: string;
}

interface Candidate {
  asked: string;
  oid: number | null;
  name: string;
  kind: string;
  persistence: string;
  partition: boolean;
  inherits: boolean;
  has_key: boolean;
  deferrable: boolean;
  generated: string[] | null;
  owned: boolean;
  security: boolean;
  foreign_partitions: string[] | null;
  types: string[] | null;
}

/**
 * Finds the tables that `asked` names (`public.customers`, `orders`, `"My Table"`, `*` for all with a primary key) and looks at
 * each before anything is touched. Names are parsed by PostgreSQL.
 */
export async function chooseTables(
  pool: Pool,
  asked: readonly string[],
): Promise<{ chosen: Chosen[]; findings: Finding[] }> {
  const { rows } = await pool.query<Candidate>(candidatesQuery, [
    asked.filter((name) => name !== '*'),
    asked.includes('*'),
  ]);
  const findings = rows.flatMap(judge);
  const refused = new Set(findings.filter(({ level }) => level === 'error').map(({ table }) => table));
  const chosen = new Map<number, Chosen>();
  for (const { oid, name } of rows) if (oid !== null && !refused.has(name)) chosen.set(oid, { oid, name });
  return { chosen: [...chosen.values()], findings };
}

/** What the database itself must allow. */
export async function checkDatabase(db: Queryable): Promise<Finding[]> {
  const { rows } = await db.query<{ role: string; version: number; replica: boolean; encoding: string }>(
    `SELECT current_user AS role, current_setting('server_version_num')::int AS version, getdatabaseencoding() AS encoding,
       current_setting('is_superuser')::bool OR current_setting('server_version_num')::int >= 150000
         AND has_parameter_privilege('session_replication_role', 'SET') AS replica`,
  );
  const { role, version, replica } = rows[0]!;
  const findings: Finding[] = [];
  if (version < 150000) {
    findings.push({
      level: 'error',
      table: null,
      problem: `PostgreSQL ${Math.floor(version / 10000)} is too old.`,
      remedy: 'Use PostgreSQL 15 or newer.',
    });
  } else if (!replica) {
    findings.push({
      level: 'error',
      table: null,
      problem: `The role "${role}" may not set session_replication_role, which applying changes needs.`,
      remedy: `As a superuser, once: GRANT SET ON PARAMETER session_replication_role TO "${role}";`,
    });
  }
  return findings;
}

function judge(table: Candidate): Finding[] {
  const { name } = table;
  const error = (problem: string, remedy: string): Finding[] => [{ level: 'error', table: name, problem, remedy }];
  if (table.oid === null)
    return error(
      'There is no such table.',
      'Check P2P_TABLES: schema.table, quoted as in SQL where the name needs it.',
    );
  if (table.kind === 'f') return error('It is a foreign table.', 'Share it from the database where it lives.');
  if (table.kind === 'v' || table.kind === 'm') return error('It is a view.', 'Share the tables that it reads.');
  if (table.kind !== 'r' && table.kind !== 'p') return error('It is not a table.', 'Name tables in P2P_TABLES.');
  if (table.persistence === 't') return error('It is a temporary table.', 'Share permanent tables.');
  if (table.persistence === 'u')
    return error(
      'It is unlogged: after a crash it is empty without anybody having deleted its rows.',
      `ALTER TABLE ${name} SET LOGGED;`,
    );
  if (table.partition) return error('It is a partition.', 'Share the partitioned table: its partitions come with it.');
  if (table.inherits)
    return error(
      'It takes part in table inheritance, where a row of a child is a row of the parent too.',
      'Make it a partitioned table, or a table of its own.',
    );
  if (!table.has_key) return error('It has no primary key.', `ALTER TABLE ${name} ADD PRIMARY KEY (…);`);
  if (table.deferrable)
    return error(
      'Its primary key is deferrable, so that a statement may leave a key twice.',
      `Drop the constraint and add it again without DEFERRABLE.`,
    );
  if (table.generated)
    return error(
      `Its key has generated columns, which cannot be written: ${table.generated.join(', ')}.`,
      'Make the primary key of ordinary columns.',
    );
  if (!table.owned)
    return error(
      'The role does not own it, and cannot put triggers on it.',
      `ALTER TABLE ${name} OWNER TO <the role>; or connect as its owner.`,
    );
  if (table.foreign_partitions)
    return error(`Its partitions ${table.foreign_partitions.join(', ')} are foreign tables.`, 'Detach them.');
  // Rows that cannot stand are tried on tables that are made for it, with the same columns.
  if (table.types)
    return error(
      `The role may not use the types of some of its columns: ${table.types.join(', ')}.`,
      table.types.map((type) => `GRANT USAGE ON TYPE ${type} TO <the role>;`).join(' '),
    );
  const warnings: Finding[] = [];
  if (table.security) {
    warnings.push({
      level: 'warning',
      table: name,
      problem: 'Row security is forced on its owner too; rows hidden from pgmesh stop the sync.',
      remedy: `ALTER TABLE ${name} NO FORCE ROW LEVEL SECURITY; or give the role BYPASSRLS.`,
    });
  }
  return warnings;
}

const candidatesQuery = `
  WITH named AS (
    SELECT a.name AS asked, p.parts, CASE cardinality(p.parts) WHEN 1 THEN coalesce(
        (SELECT c.oid FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace AND c.relname = p.parts[1]),
        (SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
           WHERE c.relname = p.parts[1] AND c.relkind IN ('r', 'p') AND n.nspname !~ '^(pg_|information_schema$|p2p$)' ORDER BY n.nspname LIMIT 1))
      WHEN 2 THEN (SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = p.parts[1] AND c.relname = p.parts[2] AND n.nspname !~ '^(pg_|information_schema$|p2p$)') END AS oid
    FROM unnest($1::text[]) AS a (name), LATERAL parse_ident(a.name) AS p (parts)
    UNION ALL
    SELECT '*', NULL, c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE $2 AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition AND n.nspname !~ '^(pg_|information_schema$|p2p$)'
      AND EXISTS (SELECT FROM pg_index AS x WHERE x.indrelid = c.oid AND x.indisprimary AND x.indimmediate)
      AND NOT EXISTS (SELECT FROM pg_inherits AS h WHERE h.inhrelid = c.oid OR h.inhparent = c.oid AND c.relkind = 'r')
      AND NOT EXISTS (SELECT FROM pg_depend AS e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
      AND c.relname NOT LIKE '%kysely_migration%'
  )
  SELECT t.asked, t.oid::int8 AS oid, CASE WHEN c.oid IS NULL THEN t.asked ELSE format('%I.%I', n.nspname, c.relname) END AS name,
    c.relkind AS kind, c.relpersistence AS persistence, c.relispartition AS partition,
    c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits AS h WHERE h.inhrelid = c.oid OR h.inhparent = c.oid) AS inherits,
    x.indexrelid IS NOT NULL AS has_key, x.indimmediate IS FALSE AS deferrable,
    (SELECT array_agg(a.attname::text) FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attgenerated <> '' AND a.attnum = ANY (x.indkey)) AS generated,
    pg_has_role(c.relowner, 'USAGE') AS owned,
    c.relforcerowsecurity AND NOT (SELECT r.rolbypassrls OR r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user) AS security,
    (SELECT array_agg(f.relname::text) FROM pg_partition_tree(c.oid) AS p JOIN pg_class AS f ON f.oid = p.relid WHERE f.relkind = 'f') AS foreign_partitions,
    (SELECT array_agg(DISTINCT format_type(u.oid, NULL)) FROM pg_attribute AS a JOIN pg_type AS y ON y.oid = a.atttypid
       JOIN pg_type AS u ON u.oid IN (y.oid, y.typbasetype)
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND NOT has_type_privilege(u.oid, 'USAGE')) AS types
  FROM named AS t LEFT JOIN pg_class AS c ON c.oid = t.oid LEFT JOIN pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_index AS x ON x.indrelid = c.oid AND x.indisprimary
  ORDER BY 3`;
