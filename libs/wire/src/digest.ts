import { parseSnapshot } from '@pgmesh/core';
import { z } from 'zod';
import { seenByDefault, wireKnowledgeSchema, wirePositionSchema } from './exchange';

/** What nodes ask each other when they compare their rows (docs/verify.md). Keys are PostgreSQL's text, digests opaque. */
const name = z.string().min(1).max(300);
const names = z.array(name).max(1600);
const digest = z.string().max(64);
const key = z.array(z.string().max(1_000_000)).min(1).max(32);
const keys = z.array(key).max(1_000);
const bound = key.nullable();
const vector = z.record(name, z.number());

/** At most so many ranges, parts and keys in one request. */
export const mostRanges = 64;
export const mostParts = 64;
export const mostKeys = 500;

/** `settled`: what has won by the last write is compared as if it had been written over all that it won against. */
const table = { protocol: z.int(), node_id: name, table: name, columns: names, settled: z.boolean().default(false) };

const rangeSchema = z.discriminatedUnion('by', [
  z.object({ from: bound, to: bound, by: z.literal('at'), at: z.array(key).max(mostParts) }),
  z.object({ from: bound, to: bound, by: z.literal('parts'), parts: z.int().min(1).max(mostParts) }),
  z.object({ from: bound, to: bound, by: z.literal('rows') }),
]);

/** `POST /p2p/digest`. `order` names the order of keys in which the ranges are meant (null: by their texts). */
export const digestRequestSchema = z.object({
  ...table,
  order: z.string().max(10_000).nullable(),
  ranges: z.array(rangeSchema).max(mostRanges),
});
export type DigestRequest = z.infer<typeof digestRequestSchema>;

const part = z.object({ from: bound, rows: z.int(), live: z.int(), digest });
const row = z.object({ key, digest, gone: z.boolean() });

/** `ranges` is empty where the answerer has another order than the asker's: it is asked again by texts. */
export const digestAnswerSchema = z.object({
  order: z.string().max(10_000).nullable(),
  ranges: z.array(z.union([z.object({ parts: z.array(part) }), z.object({ rows: z.array(row) })])),
});
export type DigestAnswer = z.infer<typeof digestAnswerSchema>;

const heldRowSchema = z.object({
  key,
  digest,
  value: digest.nullable(),
  untouched: z.boolean(),
  version: z
    .object({
      stamp: z.number(),
      origin: name,
      past: vector,
      deleted: z.boolean(),
      several: z.boolean(),
      composed: z.boolean(),
      names: digest,
    })
    .nullable(),
});

const snapshotText = z.string().refine((text) => parseSnapshot(text) !== null, 'is not of the form xmax:xip,…');

/** Where a node stands with the other, by which both judge what is still on its way. */
const standing = {
  position: wirePositionSchema.nullable(),
  knowledge: wireKnowledgeSchema,
  seen: seenByDefault,
  links: z.array(name).max(10_000),
};

/** `POST /p2p/held`: how rows are held, and whether the asker has read what was there at `since`, an earlier answer's snapshot. */
export const heldRequestSchema = z.object({
  ...table,
  keys,
  since: snapshotText.nullable(),
  ...standing,
});
export type HeldRequest = z.infer<typeof heldRequestSchema>;

export const heldAnswerSchema = z.object({
  origin: name,
  snapshot: snapshotText,
  rows: z.array(heldRowSchema),
  read: z.boolean(),
  ...standing,
});
export type HeldAnswer = z.infer<typeof heldAnswerSchema>;

/** `POST /p2p/settle`: rows as the asker holds them, for the other to do its part; `digest` is how the other held it. */
export const settleRequestSchema = z.object({
  ...table,
  origin: name,
  rows: z.array(z.object({ digest, held: heldRowSchema })).max(mostKeys),
});
export type SettleRequest = z.infer<typeof settleRequestSchema>;

export const settleAnswerSchema = z.object({ settled: z.int() });

/** `POST /p2p/rows`: a window of single rows. */
export const rowsRequestSchema = z.object({ protocol: z.int(), node_id: name, table: name, keys });
export type RowsRequest = z.infer<typeof rowsRequestSchema>;
