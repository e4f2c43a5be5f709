import { Injectable } from '@nestjs/common';
import { sql } from 'kysely';
import { Database } from '../database/database';
import type { Changes, New, Stored } from '../database/tables';
import { containing, page, Page } from '../listing/page';
import type { UserQuery } from './user';

const columns = ['id', 'username', 'email', 'full_name', 'created_at', 'updated_at'] as const;

@Injectable()
export class UsersRepository {
  constructor(private readonly db: Database) {}

  list({ q, username, email, updated_since, ...range }: UserQuery): Promise<Page<Stored<'users'>>> {
    let rows = this.db.selectFrom('users').select(columns);
    if (q !== undefined) {
      rows = rows.where(({ or, eb }) =>
        or([eb('username', 'ilike', containing(q)), eb('full_name', 'ilike', containing(q))]),
      );
    }
    if (username !== undefined) rows = rows.where('username', '=', username);
    if (email !== undefined) rows = rows.where(sql`lower(email)`, '=', sql`lower(${email})`);
    if (updated_since !== undefined) rows = rows.where('updated_at', '>=', new Date(updated_since));
    return page(rows, range);
  }

  find(id: string): Promise<Stored<'users'> | undefined> {
    return this.db.selectFrom('users').select(columns).where('id', '=', id).executeTakeFirst();
  }

  create(user: New<'users'>): Promise<Stored<'users'>> {
    return this.db.insertInto('users').values(user).returning(columns).executeTakeFirstOrThrow();
  }

  change(id: string, changes: Changes<'users'>): Promise<Stored<'users'> | undefined> {
    return this.db.updateTable('users').set(changes).where('id', '=', id).returning(columns).executeTakeFirst();
  }

  /** Its reviews go with it. */
  remove(id: string): Promise<{ id: string } | undefined> {
    return this.db.deleteFrom('users').where('id', '=', id).returning('id').executeTakeFirst();
  }
}
