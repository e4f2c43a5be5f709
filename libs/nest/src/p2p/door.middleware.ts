import { Injectable, type NestMiddleware } from '@nestjs/common';
import type { NextFunction, Request, Response } from 'express';
import { Doorkeeper } from '../http/doorkeeper';
import { answerProblem } from '../http/problem-answer';

/** Stands before everything below /p2p. */
@Injectable()
export class DoorMiddleware implements NestMiddleware {
  constructor(private readonly doorkeeper: Doorkeeper) {}

  use(request: Request, response: Response, next: NextFunction): void {
    const refusal = this.doorkeeper.refuseAnywhere(request) ?? this.doorkeeper.refuseInMesh(request);
    if (refusal) answerProblem(response, refusal);
    else next();
  }
}
