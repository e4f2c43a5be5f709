import type { Pool } from 'pg';
import type { TypeCatalog } from './values';

export interface Column {
  readonly name: string;
  readonly ident: string;
  /** With its modifier. */
  readonly type: string;
  readonly required: boolean;
  /** Part of the primary key. */
  readonly key: boolean;
  /** Drawn by the database: identity. */
  readonly drawn: boolean;
  /** Bears the owner in its first character: uuid and text. */
  readonly owned: boolean;
}

export interface Reference {
  readonly columns: readonly string[];
  readonly target: string;
  readonly targetColumns: readonly string[];
  readonly required: boolean;
}

export interface Table {
  readonly name: string;
  /** Those that can be written. */
  readonly columns: readonly Column[];
  /** In the key's order. */
  readonly key: readonly Column[];
  readonly references: readonly Reference[];
  /** Whether another table refers to it. */
  readonly parent: boolean;
}

/** The schema as its catalog describes it, parents before their children. */
export interface Model extends TypeCatalog {
  readonly tables: ReadonlyMap<string, Table>;
}

const schemas = `('crm', 'sales', 'Ops')`;

export async function readModel(pool: Pool): Promise<Model> {
  const { rows: types } = await pool.query<{ name: string; labels: string[] | null; fields: string[] | null }>(
    `SELECT format_type(t.oid, NULL) AS name,
       (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum AS e WHERE e.enumtypid = t.oid) AS labels,
       (SELECT array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum) FROM pg_attribute AS a
          WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) AS fields
     FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace LEFT JOIN pg_class AS c ON c.oid = t.typrelid
     WHERE n.nspname IN ${schemas} AND (t.typtype = 'e' OR t.typtype = 'c' AND c.relkind = 'c')`,
  );
  const { rows } = await pool.query<Omit<Table, 'key' | 'parent'> & { key: string[] }>(
    `SELECT c.oid::regclass::text AS name,
       (SELECT json_agg(json_build_object('name', a.attname, 'ident', quote_ident(a.attname), 'type', format_type(a.atttypid, a.atttypmod),
          'required', a.attnotnull OR d.typnotnull, 'key', a.attnum = ANY (x.indkey), 'drawn', a.attidentity <> '',
          'owned', a.attnum = ANY (x.indkey) AND a.atttypid IN ('uuid'::regtype, 'text'::regtype)) ORDER BY a.attnum)
        FROM pg_attribute AS a JOIN pg_type AS d ON d.oid = a.atttypid
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') AS columns,
       (SELECT json_agg(a.attname ORDER BY k.i) FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS k (n, i)
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.n) AS key,
       (SELECT coalesce(json_agg(json_build_object('target', f.confrelid::regclass::text,
          'columns', (SELECT json_agg(a.attname ORDER BY k.i) FROM unnest(f.conkey) WITH ORDINALITY AS k (n, i)
            JOIN pg_attribute AS a ON a.attrelid = f.conrelid AND a.attnum = k.n),
          'targetColumns', (SELECT json_agg(a.attname ORDER BY k.i) FROM unnest(f.confkey) WITH ORDINALITY AS k (n, i)
            JOIN pg_attribute AS a ON a.attrelid = f.confrelid AND a.attnum = k.n),
          'required', (SELECT bool_or(a.attnotnull) FROM unnest(f.conkey) AS k (n)
            JOIN pg_attribute AS a ON a.attrelid = f.conrelid AND a.attnum = k.n)) ORDER BY f.conname), '[]')
        FROM pg_constraint AS f WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.conparentid = 0) AS "references"
     FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_index AS x ON x.indrelid = c.oid AND x.indisprimary
     WHERE n.nspname IN ${schemas} AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1`,
  );
  const waiting = rows.map((row) => ({
    ...row,
    key: row.key.map((name) => row.columns.find((column) => column.name === name)!),
    parent: rows.some((other) => other.references.some(({ target }) => target === row.name)),
  }));
  const tables = new Map<string, Table>();
  while (waiting.length > 0) {
    const known = (table: { readonly name: string }, target: string) => tables.has(target) || target === table.name;
    const all = waiting.findIndex((table) => table.references.every(({ target }) => known(table, target)));
    const needed = (table: (typeof waiting)[number]) => table.references.filter(({ required }) => required);
    const ready =
      all >= 0 ? all : waiting.findIndex((table) => needed(table).every(({ target }) => known(table, target)));
    if (ready < 0) throw new Error(`${waiting[0]!.name} and its parents need each other`);
    const [table] = waiting.splice(ready, 1);
    tables.set(table!.name, table!);
  }
  return {
    tables,
    enums: new Map(types.filter(({ labels }) => labels).map(({ name, labels }) => [name, labels!])),
    composites: new Map(types.filter(({ fields }) => fields).map(({ name, fields }) => [name, fields!])),
  };
}
