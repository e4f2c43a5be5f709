import { z } from 'zod';
import { parseBody } from './exchange';

/**
 * What a node and a bootstrap node say to each other (docs/discovery.md): JSON bodies of `POST /p2p/bootstrap/<message>` and
 * their answers. Generous to members that they do not know, so that a newer node may say more; mean in length, since a
 * bootstrap node keeps what it is told.
 */
const name = z.string().min(1).max(63);
/** Whose lease it is. `instance` is random, new with each start of a process: one that was replaced ends nobody's lease. */
const member = z.object({ node_id: name, instance: name, room: name });
const urls = z.array(z.string().max(512)).max(4);

/** How many neighbours are handed out unless said otherwise, and at most. */
export const usualNeighbours = 8;
export const mostNeighbours = 64;

const done = z.object({ done: z.boolean() });

export const bootstrapMessages = {
  reg: {
    /** `urls` is empty when the node cannot be dialled. */
    body: member.extend({ protocol: z.int(), urls }),
    answer: z.object({ lease_ms: z.int().min(1), registered: z.int().min(0) }),
  },
  unreg: { body: member, answer: done },
  join: {
    body: member.extend({ count: z.int().min(1).max(mostNeighbours).default(usualNeighbours) }),
    answer: z.object({
      neighbours: z.array(z.object({ node_id: name, urls })).max(mostNeighbours),
      /** Members that cannot be dialled, by name; not all of them in a large room. */
      undialled: z.array(name).max(mostNeighbours),
      joined: z.int().min(0),
    }),
  },
  leave: { body: member, answer: done },
} as const;

export type BootstrapMessage = keyof typeof bootstrapMessages;
/** As it is sent: what has a default may be left out. */
export type BootstrapBody<Message extends BootstrapMessage> = z.input<(typeof bootstrapMessages)[Message]['body']>;
/** As it is read. */
export type BootstrapAsked<Message extends BootstrapMessage> = z.output<(typeof bootstrapMessages)[Message]['body']>;
export type BootstrapAnswer<Message extends BootstrapMessage> = z.output<(typeof bootstrapMessages)[Message]['answer']>;

/** @throws Problem `bad_request` */
export function parseBootstrapBody<Message extends BootstrapMessage>(
  message: Message,
  body: unknown,
): BootstrapAsked<Message> {
  const schema: z.ZodType = bootstrapMessages[message].body;
  return parseBody(schema, body, message.toUpperCase()) as BootstrapAsked<Message>;
}

/** @throws Problem `bad_request` */
export function parseBootstrapAnswer<Message extends BootstrapMessage>(
  message: Message,
  body: unknown,
): BootstrapAnswer<Message> {
  const schema: z.ZodType = bootstrapMessages[message].answer;
  return parseBody(schema, body, `answer to ${message.toUpperCase()}`) as BootstrapAnswer<Message>;
}
