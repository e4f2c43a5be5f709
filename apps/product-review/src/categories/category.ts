import { createZodDto } from 'nestjs-zod';
import { z } from 'zod';
import { changesOf, kept, line, prose } from '../http/fields';
import { listQuery, pageOf } from '../listing/page';

const fields = z.strictObject({
  name: line(),
  description: prose(),
});
const category = z.object({ ...kept, ...fields.shape, description: z.string().nullable() });

export class Category extends createZodDto(category) {}
export class CategoryPage extends createZodDto(pageOf(category)) {}
export class NewCategory extends createZodDto(fields.extend({ id: z.guid().optional() })) {}
export class CategoryReplacement extends createZodDto(fields) {}
export class CategoryChanges extends createZodDto(changesOf(fields)) {}
export class CategoryQuery extends createZodDto(
  listQuery(['id', 'name', 'created_at', 'updated_at'], {
    /** Part of the name. */
    q: line().optional(),
    name: line().optional(),
  }),
) {}
