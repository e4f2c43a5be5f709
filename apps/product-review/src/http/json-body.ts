import { CanActivate, ExecutionContext, Injectable } from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { Problem } from './problem';

/** Parses JSON bodies up to `limit`, after decompression, and refuses bytes that are no UTF-8 instead of mending them. */
export function useStrictJson(app: NestExpressApplication, limit = '1mb'): void {
  app.useBodyParser('json', {
    limit,
    verify: (_request: unknown, _response: unknown, body: Buffer, encoding: string) => {
      if (encoding === 'utf-8' && !isUtf8(body)) {
        throw Object.assign(new Error('The body is not valid UTF-8.'), { status: 400 });
      }
    },
  });
}

/** A body in any other format is refused rather than read as an empty one. */
@Injectable()
export class JsonBodyGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { headers } = context.switchToHttp().getRequest<IncomingMessage>();
    const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
    const type = headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase();
    if (hasBody && type !== 'application/json') {
      throw new Problem({
        status: 415,
        code: 'unsupported_media_type',
        detail: `The body is ${type ?? 'of no stated type'}. Send JSON with "Content-Type: application/json".`,
        headers: { accept: 'application/json' },
      });
    }
    return true;
  }
}
