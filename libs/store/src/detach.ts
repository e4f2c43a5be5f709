import { inTransaction, openPool } from './database';

/**
 * Takes pgmesh out of a database: its triggers, its functions, the p2p schema. The users' tables stay as they are. Returns
 * what was removed, for people to read; nothing when pgmesh was not there.
 */
export async function detach(url: string): Promise<string[]> {
  const pool = openPool(url, 1);
  try {
    return await inTransaction(pool, 'BEGIN', async (client) => {
      const { rows: schema } = await client.query('SELECT FROM pg_namespace WHERE nspname = $1', ['p2p']);
      if (schema.length === 0) return [];
      await client.query(`SET LOCAL lock_timeout = '30s'; SET LOCAL client_min_messages = warning`);
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
