import { Injectable, type NestMiddleware } from '@nestjs/common';
import { Problem } from '@pgmesh/wire';
import type { NextFunction, Request, Response } from 'express';
import { pipeline } from 'node:stream';
import { Agent, type Dispatcher } from 'undici';
import { answerProblem } from '../http/problem-answer';
import { MeshNode } from '../node/mesh-node';

/** On what was passed on already: two processes that take each other for the leader must not send it to and fro. */
export const passedOn = 'pgmesh-passed-on';

/** Those of one connection, which mean nothing on the next (RFC 9110, 7.6.1). */
const perConnection = new Set([
  'connection',
  'expect',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** A process that does not lead passes on what it is asked to the one that does, and its answer back. */
@Injectable()
export class LeaderMiddleware implements NestMiddleware {
  // Requests may be held for a minute, and windows are as long as they are: who asks gives up, not we.
  private readonly agent = new Agent({ connect: { timeout: 5_000 }, headersTimeout: 0, bodyTimeout: 0 });

  constructor(private readonly node: MeshNode) {}

  use(request: Request, response: Response, next: NextFunction): void {
    const { leader } = this.node;
    if (leader === null) return next();
    if (leader.url === null || request.headers[passedOn] !== undefined) {
      return answerProblem(response, new Problem('unavailable', 'Another process leads, or is about to. Ask again.'));
    }
    void this.passOn(leader.url, request, response);
  }

  private async passOn(url: string, request: Request, response: Response): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    try {
      const answer = await this.agent.request({
        origin: url,
        path: request.originalUrl,
        method: request.method as Dispatcher.HttpMethod,
        headers: { ...forwarded(request.headers), [passedOn]: '1' },
        body: bodyOf(request),
        signal: gone.signal,
      });
      response.statusCode = answer.statusCode;
      for (const [name, value] of Object.entries(forwarded(answer.headers))) response.setHeader(name, value);
      // A leader that ends in the middle cuts the answer off, and so is it cut off here.
      pipeline(answer.body, response, () => undefined);
    } catch (error) {
      if (gone.signal.aborted) return;
      const detail = `The process that leads (${url}) does not answer: ${(error as Error).message}. Another one takes over within seconds.`;
      answerProblem(response, new Problem('unavailable', detail));
    }
  }
}

/** A parser that stood before us may have read it. */
function bodyOf(request: Request): Dispatcher.DispatchOptions['body'] {
  if (request.method === 'GET' || request.method === 'HEAD') return null;
  const { body } = request as { body?: unknown };
  return request.readableEnded && body !== undefined ? JSON.stringify(body) : request;
}

function forwarded(headers: NodeJS.Dict<string | string[]>): Record<string, string | string[]> {
  return Object.fromEntries(
    Object.entries(headers).filter(
      (header): header is [string, string | string[]] =>
        header[1] !== undefined &&
        !perConnection.has(header[0]) &&
        header[0] !== 'content-length' &&
        header[0] !== 'host',
    ),
  );
}
