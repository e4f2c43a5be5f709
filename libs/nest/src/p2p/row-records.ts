import { z } from 'zod';

const longest = 'must be a whole number from 1 to 500';

/** The query of a list of records about rows, the newest first. */
export const recordsPage = z.strictObject({
  table: z.string().optional(),
  limit: z
    .string()
    .regex(/^\d{1,3}$/, longest)
    .transform(Number)
    .refine((value) => value >= 1 && value <= 500, longest)
    .default(50),
  cursor: z.string().max(1_000).optional(),
});

/** A row that somebody writes, or some columns of it. */
export const rowTexts = z.record(
  z.string(),
  z.union([z.string(), z.null()], 'must be text as PostgreSQL prints the value ("42", "t", "{\\"a\\": 1}"), or null'),
);
