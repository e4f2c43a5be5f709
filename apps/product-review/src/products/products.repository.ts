import { Injectable } from '@nestjs/common';
import { Database } from '../database/database';
import type { Changes, New, Stored } from '../database/tables';
import { containing, page, Page } from '../listing/page';
import type { ProductQuery } from './product';

const columns = ['id', 'name', 'description', 'price', 'category_id', 'created_at', 'updated_at'] as const;

@Injectable()
export class ProductsRepository {
  constructor(private readonly db: Database) {}

  list({
    q,
    category_id,
    min_price,
    max_price,
    updated_since,
    ...range
  }: ProductQuery): Promise<Page<Stored<'products'>>> {
    let rows = this.db.selectFrom('products').select(columns);
    if (q !== undefined) rows = rows.where('name', 'ilike', containing(q));
    if (category_id !== undefined) rows = rows.where('category_id', '=', category_id);
    if (min_price !== undefined) rows = rows.where('price', '>=', min_price);
    if (max_price !== undefined) rows = rows.where('price', '<=', max_price);
    if (updated_since !== undefined) rows = rows.where('updated_at', '>=', new Date(updated_since));
    return page(rows, range);
  }

  find(id: string): Promise<Stored<'products'> | undefined> {
    return this.db.selectFrom('products').select(columns).where('id', '=', id).executeTakeFirst();
  }

  create(product: New<'products'>): Promise<Stored<'products'>> {
    return this.db.insertInto('products').values(product).returning(columns).executeTakeFirstOrThrow();
  }

  change(id: string, changes: Changes<'products'>): Promise<Stored<'products'> | undefined> {
    return this.db.updateTable('products').set(changes).where('id', '=', id).returning(columns).executeTakeFirst();
  }

  /** Its reviews go with it. */
  remove(id: string): Promise<{ id: string } | undefined> {
    return this.db.deleteFrom('products').where('id', '=', id).returning('id').executeTakeFirst();
  }
}
