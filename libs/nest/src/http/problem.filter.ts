import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException, Logger } from '@nestjs/common';
import { Problem } from '@pgmesh/wire';
import type { Request, Response } from 'express';
import { answerProblem, problemOf } from './problem-answer';

/** Every refusal and failure as an RFC 9457 problem document. What was not expected is logged whole and told in one sentence. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  private readonly log = new Logger('Http');

  catch(exception: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const { method, path } = http.getRequest<Request>();
    const response = http.getResponse<Response>();
    const problem = problemOf(exception);
    if (problem.code === 'internal') this.log.error(exception, `${method} ${path} failed`);
    else if (problem.status >= 500 && !isExpected(exception)) this.log.warn(`${method} ${path}: ${problem.message}`);
    answerProblem(response, problem);
  }
}

/** Health checks say 503 with their own findings, again and again: nothing to log each time. */
const isExpected = (exception: unknown): boolean =>
  exception instanceof HttpException && !(exception instanceof Problem);
