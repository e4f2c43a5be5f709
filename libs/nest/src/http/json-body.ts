import { createParamDecorator, type ExecutionContext, type PipeTransform } from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { Problem } from '@pgmesh/wire';
import type { Request } from 'express';
import { isUtf8 } from 'node:buffer';
import { z } from 'zod';
import { typeOf } from './request-body';

/** Parses JSON bodies up to `limit`, measured after inflation, and refuses bytes that are no UTF-8 instead of mending them. */
export function useStrictJson(app: NestExpressApplication, limit = '1mb'): void {
  app.useBodyParser('json', {
    limit,
    verify: (_request: unknown, _response: unknown, body: Buffer, encoding: string) => {
      if (encoding !== 'utf-8' || isUtf8(body)) return;
      throw Object.assign(new Error('The body is not valid UTF-8.'), { status: 400 });
    },
  });
}

/** The body of a JSON request; nothing sent is an empty object. A body of another type is refused rather than read as empty. */
export function jsonOf(request: Request): unknown {
  const sent = request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0;
  if (sent && typeOf(request) !== 'application/json') {
    throw new Problem(
      'unsupported_media',
      `The body is ${typeOf(request) || 'of no stated type'}. Send application/json.`,
    );
  }
  const body = (request.body as unknown) ?? {};
  refuseTricks(body, 0);
  return body;
}

const deepest = 64;

/** @throws Problem `bad_request` for what no client of ours sends: a key that is meant for JavaScript, nesting without end */
function refuseTricks(value: unknown, depth: number): void {
  if (typeof value !== 'object' || value === null) return;
  if (depth > deepest) throw new Problem('bad_request', `The body is nested more than ${deepest} levels deep.`);
  if (Object.hasOwn(value, '__proto__')) throw new Problem('bad_request', 'The body has a member named __proto__.');
  for (const member of Object.values(value)) refuseTricks(member, depth + 1);
}

export const JsonBody = createParamDecorator((_: unknown, context: ExecutionContext): unknown =>
  jsonOf(context.switchToHttp().getRequest<Request>()),
);

/** Checks a body or query by its schema: `@Query(checked(changesQuery))`. */
export function checked<Value>(schema: z.ZodType<Value>): PipeTransform<unknown, Value> {
  return {
    transform(value) {
      const result = schema.safeParse(value);
      if (result.success) return result.data;
      const errors = result.error.issues.map(({ path, message }) => ({
        field: path.map(String).join('.'),
        detail: message,
      }));
      throw new Problem(
        'bad_request',
        errors.map(({ field, detail }) => (field ? `${field}: ${detail}` : detail)).join('; ') + '.',
        { errors },
      );
    },
  };
}
