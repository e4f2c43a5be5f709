import { All, Controller, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { Problem } from './http/problem';

const nouns = ['users', 'categories', 'products', 'reviews'];

/** Stands last and answers the methods that a known path does not have: 405 with `Allow`, and OPTIONS with the same list. */
@ApiExcludeController()
@Controller()
export class MethodsController {
  @All(nouns)
  collection(@Req() request: Request, @Res({ passthrough: true }) response: Response) {
    refuse(request, response, 'GET, HEAD, OPTIONS, POST');
  }

  @All(nouns.map((noun) => `${noun}/:id`))
  item(@Req() request: Request, @Res({ passthrough: true }) response: Response) {
    refuse(request, response, 'DELETE, GET, HEAD, OPTIONS, PATCH, PUT');
  }
}

function refuse({ method, path }: Request, response: Response, allow: string): void {
  if (method === 'OPTIONS') {
    response.status(204).setHeader('allow', allow);
    return;
  }
  throw new Problem({
    status: 405,
    code: 'method_not_allowed',
    detail: `${path} does not take ${method}. It takes: ${allow}.`,
    headers: { allow },
  });
}
