import { Injectable } from '@nestjs/common';
import { Database } from '../database/database';
import type { Changes, New, Stored } from '../database/tables';
import { containing, page, Page } from '../listing/page';
import type { CategoryQuery } from './category';

const columns = ['id', 'name', 'description', 'created_at', 'updated_at'] as const;

@Injectable()
export class CategoriesRepository {
  constructor(private readonly db: Database) {}

  list({ q, name, updated_since, ...range }: CategoryQuery): Promise<Page<Stored<'categories'>>> {
    let rows = this.db.selectFrom('categories').select(columns);
    if (q !== undefined) rows = rows.where('name', 'ilike', containing(q));
    if (name !== undefined) rows = rows.where('name', '=', name);
    if (updated_since !== undefined) rows = rows.where('updated_at', '>=', new Date(updated_since));
    return page(rows, range);
  }

  find(id: string): Promise<Stored<'categories'> | undefined> {
    return this.db.selectFrom('categories').select(columns).where('id', '=', id).executeTakeFirst();
  }

  create(category: New<'categories'>): Promise<Stored<'categories'>> {
    return this.db.insertInto('categories').values(category).returning(columns).executeTakeFirstOrThrow();
  }

  change(id: string, changes: Changes<'categories'>): Promise<Stored<'categories'> | undefined> {
    return this.db.updateTable('categories').set(changes).where('id', '=', id).returning(columns).executeTakeFirst();
  }

  /** Its products stay, without a category. */
  remove(id: string): Promise<{ id: string } | undefined> {
    return this.db.deleteFrom('categories').where('id', '=', id).returning('id').executeTakeFirst();
  }
}
