import type { TestDatabase } from './database';

/** The p2p schema as text, from the catalog: tables with columns and constraints, indexes, sequences, functions, triggers. */
export async function dumpSchema(db: Pick<TestDatabase, 'sql'>): Promise<string> {
  const rows = await db.sql<{ line: string }>(`
    WITH p2p AS (SELECT oid FROM pg_namespace WHERE nspname = 'p2p'), line (kind, name, line) AS (
      SELECT 1, c.relname, format(E'TABLE %s\\n%s', c.relname, (
        SELECT string_agg(format('  %s %s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
          CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END, coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')), E'\\n' ORDER BY a.attnum)
        FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
        || coalesce(E'\\n' || (SELECT string_agg('  ' || pg_get_constraintdef(k.oid), E'\\n' ORDER BY k.conname)
             FROM pg_constraint AS k WHERE k.conrelid = c.oid AND k.contype <> 'n'), '')
      FROM pg_class AS c, p2p WHERE c.relnamespace = p2p.oid AND c.relkind = 'r' AND c.relname NOT LIKE 'migration%'
      UNION ALL
      SELECT 2, i.indexname, i.indexdef FROM pg_indexes AS i WHERE i.schemaname = 'p2p' AND i.tablename NOT LIKE 'migration%'
      UNION ALL
      SELECT 3, s.sequencename, format('SEQUENCE %s FROM %s TO %s%s', s.sequencename, s.min_value, s.max_value, CASE WHEN s.cycle THEN ' CYCLE' ELSE '' END)
      FROM pg_sequences AS s WHERE s.schemaname = 'p2p'
      UNION ALL
      SELECT 4, p.proname, pg_get_functiondef(p.oid) FROM pg_proc AS p, p2p WHERE p.pronamespace = p2p.oid
      UNION ALL
      SELECT 5, c.relname || t.tgname, pg_get_triggerdef(t.oid) || ' -- ' || t.tgenabled::text
      FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_proc AS f ON f.oid = t.tgfoid, p2p WHERE f.pronamespace = p2p.oid
    )
    SELECT line FROM line ORDER BY kind, name COLLATE "C", line COLLATE "C"`);
  return `${rows.map(({ line }) => line.trimEnd()).join('\n\n')}\n`;
}
