import { createZodDto } from 'nestjs-zod';
import { z } from 'zod';
import { changesOf, kept, line, money, prose } from '../http/fields';
import { listQuery, pageOf } from '../listing/page';

const fields = z.strictObject({
  name: line(),
  description: prose(),
  price: money.nullish(),
  category_id: z.guid().nullish(),
});
const product = z.object({
  ...kept,
  ...fields.shape,
  description: z.string().nullable(),
  price: z.string().nullable(),
  category_id: z.guid().nullable(),
});

export class Product extends createZodDto(product) {}
export class ProductPage extends createZodDto(pageOf(product)) {}
export class NewProduct extends createZodDto(fields.extend({ id: z.guid().optional() })) {}
export class ProductReplacement extends createZodDto(fields) {}
export class ProductChanges extends createZodDto(changesOf(fields)) {}
export class ProductQuery extends createZodDto(
  listQuery(['id', 'name', 'price', 'created_at', 'updated_at'], {
    /** Part of the name. */
    q: line().optional(),
    category_id: z.guid().optional(),
    min_price: money.optional(),
    max_price: money.optional(),
  }),
) {}
