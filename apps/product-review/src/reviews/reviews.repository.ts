import { Injectable } from '@nestjs/common';
import { Database } from '../database/database';
import type { Changes, New, Stored } from '../database/tables';
import { page, Page } from '../listing/page';
import type { ReviewQuery } from './review';

const columns = ['id', 'product_id', 'user_id', 'rating', 'title', 'comment', 'created_at', 'updated_at'] as const;

@Injectable()
export class ReviewsRepository {
  constructor(private readonly db: Database) {}

  list({ product_id, user_id, rating, updated_since, ...range }: ReviewQuery): Promise<Page<Stored<'reviews'>>> {
    let rows = this.db.selectFrom('reviews').select(columns);
    if (product_id !== undefined) rows = rows.where('product_id', '=', product_id);
    if (user_id !== undefined) rows = rows.where('user_id', '=', user_id);
    if (rating !== undefined) rows = rows.where('rating', '=', rating);
    if (updated_since !== undefined) rows = rows.where('updated_at', '>=', new Date(updated_since));
    return page(rows, range);
  }

  find(id: string): Promise<Stored<'reviews'> | undefined> {
    return this.db.selectFrom('reviews').select(columns).where('id', '=', id).executeTakeFirst();
  }

  create(review: New<'reviews'>): Promise<Stored<'reviews'>> {
    return this.db.insertInto('reviews').values(review).returning(columns).executeTakeFirstOrThrow();
  }

  change(id: string, changes: Changes<'reviews'>): Promise<Stored<'reviews'> | undefined> {
    return this.db.updateTable('reviews').set(changes).where('id', '=', id).returning(columns).executeTakeFirst();
  }

  remove(id: string): Promise<{ id: string } | undefined> {
    return this.db.deleteFrom('reviews').where('id', '=', id).returning('id').executeTakeFirst();
  }
}
