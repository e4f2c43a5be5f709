import { DynamicModule, Module } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import type { Pool } from 'pg';
import { CategoriesController } from './categories/categories.controller';
import { CategoriesRepository } from './categories/categories.repository';
import { Database } from './database/database';
import { ProblemFilter } from './http/problem.filter';
import { MethodsController } from './methods.controller';
import { ProductsController } from './products/products.controller';
import { ProductsRepository } from './products/products.repository';
import { ReviewsController } from './reviews/reviews.controller';
import { ReviewsRepository } from './reviews/reviews.repository';
import { UsersController } from './users/users.controller';
import { UsersRepository } from './users/users.repository';

/** The product-review API on a migrated database. The pool stays the caller's: it is not ended here. */
@Module({})
export class ProductReviewModule {
  static forRoot({ pool }: { pool: Pool }): DynamicModule {
    return {
      module: ProductReviewModule,
      // Routes are matched in this order: MethodsController takes what the others leave.
      controllers: [UsersController, CategoriesController, ProductsController, ReviewsController, MethodsController],
      providers: [
        { provide: Database, useFactory: () => new Database(pool) },
        { provide: APP_FILTER, useClass: ProblemFilter },
        UsersRepository,
        CategoriesRepository,
        ProductsRepository,
        ReviewsRepository,
      ],
    };
  }
}
