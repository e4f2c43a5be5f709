import { ArgumentsHost, Catch, ExceptionFilter, HttpException, Logger } from '@nestjs/common';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { STATUS_CODES } from 'node:http';
import { isNativeError } from 'node:util/types';
import { ZodValidationException } from 'nestjs-zod';
import { ZodError } from 'zod';
import { postgresProblem } from './postgres-problem';
import { FieldError, Problem, ProblemDocument } from './problem';

/**
 * Every answer that is not a success, as a problem document (RFC 9457). What was not expected is logged in full and
 * told to the client in one sentence without particulars.
 */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  private readonly log = new Logger('Http');

  catch(exception: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const request = http.getRequest<IncomingMessage & { originalUrl?: string }>();
    const response = http.getResponse<ServerResponse>();
    const problem = problemOf(exception);
    const status = problem.getStatus();
    const instance = (request.originalUrl ?? request.url ?? '').split('?', 1)[0] ?? '';
    if (status >= 500) this.report(exception, `${request.method} ${instance}`, status);
    if (response.headersSent) {
      response.destroy(); // half an answer cannot be taken back; a cut connection tells the client that it is not whole
      return;
    }
    const document: ProblemDocument = {
      type: `urn:pgmesh:problem:${problem.code.replaceAll('_', '-')}`,
      title: STATUS_CODES[status] ?? 'Error',
      status,
      detail: problem.message,
      instance,
      code: problem.code,
      errors: problem.errors,
    };
    response.writeHead(status, { 'content-type': 'application/problem+json', ...problem.headers });
    response.end(JSON.stringify(document));
  }

  private report(exception: unknown, request: string, status: number): void {
    const cause = isNativeError(exception) ? exception : new Error(String(exception));
    if (status === 503) this.log.warn(`${request}: ${cause.message}`);
    else this.log.error(`${request}: ${cause.message}`, cause.stack);
  }
}

function problemOf(exception: unknown): Problem {
  if (exception instanceof Problem) return exception;
  if (exception instanceof ZodValidationException) return invalid(exception.getZodError());
  if (exception instanceof HttpException) {
    const status = exception.getStatus();
    return new Problem({ status, code: codeOf(status), detail: exception.message });
  }
  return (
    postgresProblem(exception) ??
    parserProblem(exception) ??
    new Problem({
      status: 500,
      code: 'internal_error',
      detail: 'Something went wrong here, not in the request. The log of this node says what.',
    })
  );
}

function invalid(error: unknown): Problem {
  const errors = error instanceof ZodError ? error.issues.flatMap(fieldErrors) : [];
  const told = errors.map(({ field, detail }) => (field ? `${field}: ${detail}` : detail)).join('; ');
  return new Problem({ status: 400, code: 'validation_failed', detail: told || 'The request is not valid.', errors });
}

function fieldErrors({ path, message, ...issue }: ZodError['issues'][number]): FieldError[] {
  const field = path.map(String).join('.');
  if (issue.code !== 'unrecognized_keys') return [{ field, detail: message }];
  return issue.keys.map((key) => ({ field: [...path.map(String), key].join('.'), detail: 'is not known here' }));
}

/** What the body parser and the router refuse before any controller: bad JSON, too large, unknown encoding. */
function parserProblem(exception: unknown): Problem | undefined {
  const { statusCode, expose, message } = (exception ?? {}) as Partial<Error & { statusCode: number; expose: boolean }>;
  if (typeof statusCode !== 'number' || statusCode < 400 || statusCode > 499 || !expose || !message) return undefined;
  return new Problem({ status: statusCode, code: codeOf(statusCode), detail: message });
}

/** 404 → `not_found`, 413 → `payload_too_large`: the standard's own words. */
function codeOf(status: number): string {
  return (STATUS_CODES[status] ?? 'error').toLowerCase().replaceAll(/[^a-z]+/g, '_');
}
