import { inTransaction, openPool, type Queryable } from './database';

/** What a table does not show, and the p2p schema alone has. */
export interface Hidden {
  /** `schema.table` */
  readonly table: string;
  /** Rows that do not stand. */
  readonly parked: number;
  /** Versions of conflicts that do not stand. */
  readonly versions: number;
}

/**
 * Takes pgmesh out of a database: its triggers, its functions, the p2p schema. The users' tables stay as they are. Returns
 * what was removed, for people to read; nothing when pgmesh was not there.
 * @param losing is told what will be gone, if anything, before it is
 */
export async function detach(
  url: string,
  losing: (hidden: readonly Hidden[]) => void = () => undefined,
): Promise<string[]> {
  const pool = openPool(url, 1);
  try {
    return await inTransaction(pool, 'BEGIN', async (client) => {
      const { rows: schema } = await client.query('SELECT FROM pg_namespace WHERE nspname = $1', ['p2p']);
      if (schema.length === 0) return [];
      await client.query(`SET LOCAL lock_timeout = '30s'; SET LOCAL client_min_messages = warning`);
      const hidden = await readHidden(client);
      if (hidden.length > 0) losing(hidden);
      const { rows } = await client.query<{ trigger: string; relation: string }>(
        `SELECT quote_ident(t.tgname) AS trigger, format('%I.%I', n.nspname, c.relname) AS relation
         FROM pg_trigger AS t JOIN pg_proc AS f ON f.oid = t.tgfoid JOIN pg_class AS c ON c.oid = t.tgrelid
           JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE f.pronamespace = 'p2p'::regnamespace ORDER BY 2, 1`,
      );
      for (const { trigger, relation } of rows) await client.query(`DROP TRIGGER ${trigger} ON ${relation}`);
      await client.query('DROP SCHEMA p2p CASCADE');
      return [...rows.map(({ trigger, relation }) => `trigger ${trigger} on ${relation}`), 'schema p2p'];
    });
  } finally {
    await pool.end();
  }
}

async function readHidden(client: Queryable): Promise<Hidden[]> {
  const { rows: tables } = await client.query<{ id: number; name: string }>(
    'SELECT id, name FROM p2p.tracked_table ORDER BY name',
  );
  const hidden: Hidden[] = [];
  for (const { id, name } of tables) {
    const { rows } = await client.query<Omit<Hidden, 'table'>>(
      `SELECT (SELECT count(*) FROM p2p.parked AS p WHERE p.table_id = ${id}) AS parked,
         (SELECT count(*) FROM p2p.meta_${id} AS m, jsonb_array_elements(m.siblings) AS s (version)
          WHERE (s.version ->> 'stamp')::int8 <> m.stamp OR s.version ->> 'origin' <> m.origin) AS versions`,
    );
    const { parked, versions } = rows[0]!;
    if (parked + versions > 0) hidden.push({ table: name, parked, versions });
  }
  return hidden;
}
