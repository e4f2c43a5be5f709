import { z } from 'zod';

/** What PostgreSQL's text cannot hold: NUL, and halves of surrogate pairs, which would silently become U+FFFD. */
const unstorable = /\0|\p{Surrogate}/u;

const text = (max: number) =>
  z
    .string()
    .max(max)
    .refine((value) => !unstorable.test(value), 'must be Unicode text without NUL');

/** Something is written here: blanks around it are dropped. */
export const line = (max = 200) => text(max).trim().min(1);
/** May be long, may be absent. */
export const prose = (max = 10_000) => text(max).nullish();

/**
 * An exact amount, kept as numeric(14,2) and given back as a string: `"19.90"`. A number is taken too, by the digits that
 * JSON wrote; more than two decimals are refused rather than rounded.
 */
export const money = z
  .preprocess(
    (value) => (typeof value === 'number' ? String(value) : value),
    z.string().regex(/^\d{1,12}(\.\d{1,2})?$/, 'must be an amount such as "19.90": at most 12 digits and 2 decimals'),
  )
  .describe('An exact amount such as "19.90". A JSON number is taken too, and given back as a string.');

export const timestamp = z.iso.datetime({ offset: true });

/** What the database keeps for every row. */
export const kept = { id: z.guid(), created_at: timestamp, updated_at: timestamp };

/** The schema of a PATCH: any of the fields, but one at least. No default is put where nothing was said. */
export const changesOf = <Shape extends z.ZodRawShape>(fields: z.ZodObject<Shape, z.core.$strict>) =>
  fields.partial().refine((changes) => Object.keys(changes).length > 0, 'must change at least one field');
