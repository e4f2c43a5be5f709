import { createZodDto } from 'nestjs-zod';
import { z } from 'zod';
import { changesOf, kept, line } from '../http/fields';
import { listQuery, pageOf } from '../listing/page';

const fields = z.strictObject({
  username: line(),
  email: z.email().max(320),
  full_name: line().nullish(),
});
const user = z.object({ ...kept, ...fields.shape, full_name: z.string().nullable() });

export class User extends createZodDto(user) {}
export class UserPage extends createZodDto(pageOf(user)) {}
export class NewUser extends createZodDto(fields.extend({ id: z.guid().optional() })) {}
export class UserReplacement extends createZodDto(fields) {}
export class UserChanges extends createZodDto(changesOf(fields)) {}
export class UserQuery extends createZodDto(
  listQuery(['id', 'username', 'email', 'full_name', 'created_at', 'updated_at'], {
    /** Part of the username or of the full name. */
    q: line().optional(),
    username: line().optional(),
    email: line(320).optional(),
  }),
) {}
