import { Kysely, PostgresDialect, WithSchemaPlugin } from 'kysely';
import type { Pool } from 'pg';
import type { Tables } from './tables';

/** The application's four tables, on a pool that belongs to whoever made it: nothing here ends it. */
export class Database extends Kysely<Tables> {
  constructor(pool: Pool) {
    super({ dialect: new PostgresDialect({ pool }), plugins: [new WithSchemaPlugin('public')] });
  }
}
