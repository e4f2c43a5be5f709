import { createZodDto } from 'nestjs-zod';
import { z } from 'zod';
import { changesOf, kept, line, prose } from '../http/fields';
import { listQuery, pageOf } from '../listing/page';

const fields = z.strictObject({
  product_id: z.guid(),
  user_id: z.guid(),
  rating: z.int().min(1).max(5),
  title: line().nullish(),
  comment: prose(),
});
const review = z.object({
  ...kept,
  ...fields.shape,
  title: z.string().nullable(),
  comment: z.string().nullable(),
});

export class Review extends createZodDto(review) {}
export class ReviewPage extends createZodDto(pageOf(review)) {}
export class NewReview extends createZodDto(fields.extend({ id: z.guid().optional() })) {}
export class ReviewReplacement extends createZodDto(fields) {}
export class ReviewChanges extends createZodDto(changesOf(fields)) {}
export class ReviewQuery extends createZodDto(
  listQuery(['id', 'rating', 'title', 'created_at', 'updated_at'], {
    product_id: z.guid().optional(),
    user_id: z.guid().optional(),
    rating: z.coerce.number().int().min(1).max(5).optional(),
  }),
) {}
