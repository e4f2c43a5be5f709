import {
  formatCursor,
  formatSnapshot,
  type Guards,
  isNodeName,
  type Knowledge,
  type Known,
  longestRules,
  type Member,
  parseCursor,
  parseSnapshot,
  type Position,
  type Seen,
  type Snapshot,
} from '@pgmesh/core';
import { z } from 'zod';
import type { WireGuards, WireKnowledge, WireSeen } from './frame';
import { Problem, type ProblemCode, problemCodes } from './problem';

/**
 * What nodes tell each other in JSON beside the windows: who they are, where they stand, what they know. The schemas are
 * generous to members that they do not know, so that a newer node may say more.
 */
const name = z.string().min(1).max(300);
const names = z.array(name).max(10_000);
const nodeName = z.string().refine(isNodeName, 'is no name of a node');
const epochText = z.string().regex(/^[0-9a-z]{1,32}$/, 'is no incarnation');
/** Up to the year 9999. */
const time = z.int().min(0).max(253_402_300_799_999);
const snapshotText = z.string().refine((text) => parseSnapshot(text) !== null, 'is not of the form xmax:xip,…');
const cursorText = z.string().refine((text) => parseCursor(text) !== null, 'is not of the form epoch/xmax:xip,…');
const copyPoint = z.object({ table: name, after: z.array(z.string().max(1_000_000)).max(32).nullable() });

/** The name of the header in which a pushed window names the reader that it was made for: `node_id/epoch`. */
export const receiverHeader = 'pgmesh-receiver';

export const wireKnowledgeSchema: z.ZodType<WireKnowledge> = z.record(
  name,
  z.object({ cursor: cursorText, tables: names }),
);

/** By origin, of which of its transactions every write is there (libs/core: Seen). A node that says nothing is sent more. */
export const wireSeenSchema: z.ZodType<WireSeen> = z.record(name, snapshotText);
export const seenByDefault = wireSeenSchema.default({});

/** `Position` as JSON: snapshots as `xmax:xip,…` */
export const wirePositionSchema = z.object({
  epoch: name,
  tables: names,
  snapshot: snapshotText,
  complete: snapshotText,
  reached: snapshotText,
  copy: z
    .object({
      tables: names,
      since: snapshotText,
      next: copyPoint,
      whole: z.object({ tables: names, known: wireKnowledgeSchema }).optional(),
    })
    .nullable(),
  left: z.record(name, snapshotText).optional(),
  formerly: z.record(name, snapshotText).optional(),
});
export type WirePosition = z.infer<typeof wirePositionSchema>;

/** `TableForm` as JSON. Types and what follows them are shown to people, who run them: longer ones than anybody has are refused. */
const columnFormSchema = z.object({
  name,
  type: z.string().max(1000),
  base: z.string().max(1000),
  generated: z.boolean(),
  optional: z.boolean(),
  more: z.string().max(10_000),
});
const tableFormSchema = z.object({ key: z.array(name).max(32), columns: z.array(columnFormSchema).max(1600) });

/** A member of the mesh (libs/core: Member) as nodes tell each other of it. Times are milliseconds since 1970. */
export const wireMemberSchema = z.object({
  node_id: nodeName,
  epoch: epochText,
  tables: names,
  first_seen: time,
  last_seen: time,
  /** Null where it has made none, and where the listener has it. */
  claim: z
    .object({
      number: z.int().min(1),
      snapshot: snapshotText,
      known: wireKnowledgeSchema,
      keeps: names.nullable().default(null),
    })
    .nullable()
    .default(null),
  evicted: z.object({ at: time, by: nodeName }).nullable().default(null),
  term: z
    .int()
    .min(0)
    .max(2 ** 31 - 1),
});
export type WireMember = z.infer<typeof wireMemberSchema>;

/** What two nodes tell each other of members where their lists differ. */
export const gossipSchema = z.object({
  /** By node, what the speaker has (libs/core: markOf). The answer has what the speaker lacks. */
  marks: z.record(name, z.string().max(100)).optional(),
  members: z.array(wireMemberSchema).max(10_000).default([]),
});
export type Gossip = z.infer<typeof gossipSchema>;

/** `POST /p2p/hello`, in both directions. */
export const helloSchema = z.object({
  protocol: z.int(),
  /** Random, new with each start of a process: by it a node knows itself from a copy of itself. */
  instance: name,
  node_id: name,
  epoch: name,
  room: z.string().max(300),
  /** The tables that the speaker shares. */
  tables: names,
  /** The digests of their forms (libs/core: formDigest), one for each of `tables`. */
  digests: z.array(z.string().max(64)).max(10_000).default([]),
  /** The forms of those that the listener has in another form, as far as that is known. */
  forms: z.record(name, tableFormSchema).default({}),
  /** The digests of what keeps rows out of them (libs/core: constraintsDigest), likewise. */
  constraint_digests: z.array(z.string().max(64)).max(10_000).default([]),
  /** What keeps rows out of those where the listener has another digest (libs/core: constraintsOf), as far as that is known. */
  constraints: z.record(name, z.array(z.string().max(10_000)).max(1_000)).default({}),
  /** How the speaker decides conflicts (libs/core: formatRules). A node that says nothing goes by the last write. */
  rules: z.string().max(longestRules).default('last-write-wins'),
  /** Which numbers the speaker draws for serial keys (libs/core: Slot); null when it has not been told. */
  sequences: z
    .object({ slot: z.int().min(1), of: z.int().min(1) })
    .nullable()
    .default(null),
  /** The digest of the speaker's list of members (libs/core: digestOf); where it is the same as the listener's, there is nothing to tell. */
  members: z.string().max(100).nullable().default(null),
  /** Where the speaker can be dialled; null when it cannot. */
  url: z.string().max(2048).nullable(),
  /** How much the speaker has to do: of several the one with the least is copied from. */
  load: z.number().min(0).max(1e9).default(0),
  /** The nodes that the speaker has a live link to: it dials them, reads their feeds and pushes to them. */
  links: names,
  knowledge: wireKnowledgeSchema,
  seen: seenByDefault,
  /** Where the speaker stands in the listener's feed; null when it never read it, or does not know yet whose it is. */
  position: wirePositionSchema.nullable(),
});
export type Hello = z.infer<typeof helloSchema>;

/** `POST /p2p/window`; see `WindowRequest`. */
export const windowRequestSchema = z
  .object({
    protocol: z.int(),
    node_id: name,
    epoch: name.nullable(),
    tables: names,
    kind: z.enum(['window', 'copy']),
    from: snapshotText.nullable(),
    at: copyPoint.nullable(),
    whole: names.default([]),
    limit: z.int().min(1).max(1_000_000),
    wait: z.number().min(0).max(60),
    knowledge: wireKnowledgeSchema,
    seen: seenByDefault,
    links: names,
  })
  .refine(({ kind, from }) => kind === 'copy' || from !== null, { path: ['from'], message: 'is needed for a window' });

/** The answer to a pushed window that was applied. */
export const pushAnswerSchema = z.object({
  outcome: z.literal('applied'),
  position: wirePositionSchema,
  knowledge: wireKnowledgeSchema,
  seen: seenByDefault,
  changed: z.int(),
  conflicts: z.int(),
  /** The origins of which the window had rows that were here already: another brings them sooner. */
  repeated: z.array(name).max(10_000).default([]),
});
export type PushAnswer = z.infer<typeof pushAnswerSchema>;

/** What a `gap` problem carries beside its text. */
export const gapSchema = z.object({
  position: wirePositionSchema.nullable(),
  knowledge: wireKnowledgeSchema.optional(),
  seen: wireSeenSchema.optional(),
});

/** `POST /p2p/notify-changes` as JSON: there is news; this is how far the speaker has come. */
export const hintSchema = z.object({
  node_id: name,
  epoch: name,
  knowledge: wireKnowledgeSchema,
  seen: seenByDefault,
  /** Whether the listener should fetch it now. False when the speaker will push what turns out to be missing. */
  pull: z.boolean().default(true),
  gossip: gossipSchema.optional(),
});
export type Hint = z.infer<typeof hintSchema>;

export const hintAnswerSchema = z.object({
  knowledge: wireKnowledgeSchema,
  seen: seenByDefault,
  position: wirePositionSchema.nullable().optional(),
  gossip: gossipSchema.optional(),
});
export type HintAnswer = z.infer<typeof hintAnswerSchema>;

/** @throws Problem `bad_request`, naming the first member that is not as it should be. */
export function parseBody<T>(schema: z.ZodType<T>, body: unknown, what: string): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = issue && issue.path.length > 0 ? ` at "${issue.path.join('.').slice(0, 100)}"` : '';
  throw new Problem(
    'bad_request',
    `The ${what} cannot be read${where}: ${issue?.message ?? 'it is not of the right form'}.`,
  );
}

export function toWirePosition(position: Position): WirePosition;
export function toWirePosition(position: Position | null): WirePosition | null;
export function toWirePosition(position: Position | null): WirePosition | null {
  if (position === null) return null;
  const { epoch, tables, snapshot, complete, reached, copy, left, formerly } = position;
  return {
    epoch,
    tables: [...tables],
    snapshot: formatSnapshot(snapshot),
    complete: formatSnapshot(complete),
    reached: formatSnapshot(reached),
    copy: copy && {
      tables: [...copy.tables],
      since: formatSnapshot(copy.since),
      next: { table: copy.next.table, after: copy.next.after && [...copy.next.after] },
      ...(copy.whole && { whole: { tables: [...copy.whole.tables], known: toWireKnowledge(copy.whole.known) } }),
    },
    ...(left && { left: mapValues(left, formatSnapshot) }),
    ...(formerly && { formerly: mapValues(formerly, formatSnapshot) }),
  };
}

export function fromWirePosition(position: WirePosition): Position;
export function fromWirePosition(position: WirePosition | null): Position | null;
export function fromWirePosition(position: WirePosition | null): Position | null {
  if (position === null) return null;
  const { copy, left, formerly, ...rest } = position;
  return {
    ...rest,
    snapshot: parseSnapshot(position.snapshot)!,
    complete: parseSnapshot(position.complete)!,
    reached: parseSnapshot(position.reached)!,
    copy: copy && fromWireCopy(copy),
    ...(left && { left: mapValues(left, (text) => parseSnapshot(text)!) }),
    ...(formerly && { formerly: mapValues(formerly, (text) => parseSnapshot(text)!) }),
  };
}

function fromWireCopy({ whole, ...copy }: NonNullable<WirePosition['copy']>): NonNullable<Position['copy']> {
  return {
    ...copy,
    since: parseSnapshot(copy.since)!,
    ...(whole && { whole: { tables: whole.tables, known: fromWireKnowledge(whole.known) } }),
  };
}

export function toWireGuards(guards: Readonly<Record<string, Guards>>): WireGuards {
  const some = Object.entries(guards).filter(([, list]) => list.length > 0);
  return Object.fromEntries(
    some.map(([table, list]) => [
      table,
      list.map((marks) => marks.map(({ node, ...cursor }) => ({ node, at: formatCursor(cursor) }))),
    ]),
  );
}

/** @throws Problem `bad_request`: a guard that cannot be read must not be passed over */
export function fromWireGuards(guards: WireGuards, table: string): Guards {
  const list = Object.hasOwn(guards, table) ? guards[table]! : [];
  return list.map((marks) =>
    marks.map(({ node, at }) => {
      const cursor = parseCursor(at);
      if (cursor === null)
        throw new Problem('bad_request', `The window has a guard that cannot be read: ${at.slice(0, 100)}.`);
      return { node, ...cursor };
    }),
  );
}

function mapValues<A, B>(record: Readonly<Record<string, A>>, map: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}

export function toWireKnowledge(knowledge: Knowledge): WireKnowledge {
  const entries = Object.entries(knowledge);
  return Object.fromEntries(
    entries.map(([node, { cursor, tables }]) => [node, { cursor: formatCursor(cursor), tables: [...tables] }]),
  );
}

/** Entries whose cursor is not one are left out: knowing less only means being sent more. */
export function fromWireKnowledge(knowledge: WireKnowledge): Knowledge {
  const entries = Object.entries(knowledge).flatMap(([node, { cursor, tables }]): [string, Known][] => {
    const parsed = parseCursor(cursor);
    return parsed === null ? [] : [[node, { cursor: parsed, tables }]];
  });
  return Object.fromEntries(entries);
}

export function toWireSeen(seen: Seen): WireSeen {
  return mapValues(seen, formatSnapshot);
}

/** What is no snapshot is left out, as in knowledge. */
export function fromWireSeen(seen: WireSeen): Seen {
  return Object.fromEntries(
    Object.entries(seen).flatMap(([origin, text]): [string, Snapshot][] => {
      const snapshot = parseSnapshot(text);
      return snapshot === null ? [] : [[origin, snapshot]];
    }),
  );
}

export function toWireMember({ nodeId, firstSeen, lastSeen, claim, tables, ...member }: Member): WireMember {
  return {
    node_id: nodeId,
    tables: [...tables],
    first_seen: firstSeen,
    last_seen: lastSeen,
    claim: claim && {
      number: claim.number,
      snapshot: formatSnapshot(claim.snapshot),
      known: toWireKnowledge(claim.known),
      keeps: claim.keeps && [...claim.keeps],
    },
    ...member,
  };
}

export function fromWireMember({ node_id, first_seen, last_seen, claim, ...member }: WireMember): Member {
  return {
    nodeId: node_id,
    firstSeen: first_seen,
    lastSeen: last_seen,
    claim: claim && { ...claim, snapshot: parseSnapshot(claim.snapshot)!, known: fromWireKnowledge(claim.known) },
    ...member,
  };
}

/** A problem document turned back into the problem; null when it is not one of ours. */
export function problemFromDocument(document: unknown): Problem | null {
  if (typeof document !== 'object' || document === null) return null;
  const {
    type: _type,
    title: _title,
    status: _status,
    detail,
    instance: _instance,
    code,
    ...extra
  } = document as Record<string, unknown>;
  if (typeof code !== 'string' || !Object.hasOwn(problemCodes, code)) return null;
  return new Problem(
    code as ProblemCode,
    typeof detail === 'string' ? detail : problemCodes[code as ProblemCode][1],
    extra,
  );
}
