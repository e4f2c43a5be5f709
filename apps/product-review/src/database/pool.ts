import { Pool } from 'pg';

/**
 * The application's connections. One that breaks while it runs nothing, in the pool or in a request's hands, is told of by the next
 * query on it: that request is answered that the database is away, and the process lives on.
 */
export function openPool(connectionString: string, max = 10): Pool {
  const pool = new Pool({ connectionString, max });
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}
