import { HttpException } from '@nestjs/common';
import { FrameError, Problem, problemCodes, type ProblemCode, problemContentType } from '@pgmesh/wire';
import type { ServerResponse } from 'node:http';

/** Seconds after which a client may try again what failed for no fault of its own, where the problem does not say it better (`retry_after`). */
const retryAfter = 1;

export function answerProblem(response: ServerResponse, problem: Problem): void {
  if (response.headersSent) {
    response.destroy(); // half an answer cannot be taken back; a cut connection tells the reader that it is not whole
    return;
  }
  response.statusCode = problem.status;
  response.setHeader('content-type', problemContentType);
  response.removeHeader('content-encoding');
  const { allow, retry_after: seconds = retryAfter } = problem.extra;
  if (problem.status === 503 || problem.status === 429) response.setHeader('retry-after', String(seconds));
  // The rest of the body never came: nothing else can follow on this connection.
  if (problem.status === 408) response.setHeader('connection', 'close');
  if (problem.status === 401) response.setHeader('www-authenticate', 'Bearer');
  if (typeof allow === 'string') response.setHeader('allow', allow);
  response.end(JSON.stringify(problem.toDocument()));
}

/** What was thrown, as one of our problems. What nobody expected becomes `internal`, which tells no particulars. */
export function problemOf(thrown: unknown): Problem {
  if (thrown instanceof Problem) return thrown;
  if (thrown instanceof FrameError) return new Problem('bad_request', `${thrown.message}.`);
  if (thrown instanceof URIError) return new Problem('bad_request', 'The path is not percent-encoded UTF-8.');
  if (thrown instanceof HttpException) {
    const code = codeOf(thrown.getStatus());
    const findings = code === 'unavailable' ? healthFindings(thrown.getResponse()) : null;
    return findings
      ? new Problem(code, findings.join(' '), { health: thrown.getResponse() })
      : new Problem(code, thrown.message);
  }
  return (
    refusedByExpress(thrown) ??
    new Problem('internal', 'Something went wrong here, not in the request. The log of this node says what.')
  );
}

/** What a health check that failed found, in words. */
function healthFindings(said: unknown): string[] | null {
  const { error } = said as { error?: unknown };
  if (typeof error !== 'object' || error === null) return null;
  return Object.values(error).map((finding: { message?: unknown }) => String(finding.message ?? 'It is down.'));
}

/** What the body parser and the router refuse before any controller: bad JSON, too large, unknown encoding. */
function refusedByExpress(thrown: unknown): Problem | undefined {
  const { statusCode, expose, message } = (thrown ?? {}) as {
    statusCode?: unknown;
    expose?: unknown;
    message?: unknown;
  };
  if (typeof statusCode !== 'number' || statusCode < 400 || statusCode > 499 || expose !== true) return undefined;
  return new Problem(
    codeOf(statusCode),
    typeof message === 'string' && message !== '' ? message : 'The request cannot be read.',
  );
}

const byStatus: Readonly<Record<number, ProblemCode>> = {
  400: 'bad_request',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not_found',
  405: 'method_not_allowed',
  408: 'request_timeout',
  413: 'too_large',
  415: 'unsupported_media',
  429: 'too_many',
  503: 'unavailable',
};

function codeOf(status: number): ProblemCode {
  const code = byStatus[status];
  if (code !== undefined) return code;
  const near = Object.entries(problemCodes).find(([, [known]]) => known === status);
  return near ? (near[0] as ProblemCode) : status >= 500 ? 'internal' : 'bad_request';
}
