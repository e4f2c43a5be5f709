import { Controller, HttpCode, Post, Req, Res, UseFilters } from '@nestjs/common';
import { ApiConsumes, ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import { decodeFrames, FrameError, Problem, receiverHeader, windowContentType } from '@pgmesh/wire';
import type { Request, Response } from 'express';
import { JsonBody, jsonOf } from '../http/json-body';
import { ProblemFilter } from '../http/problem.filter';
import { RequestBody, typeOf } from '../http/request-body';
import { endOf } from '../http/request-end';
import { MeshNode } from '../node/mesh-node';
import { answerWindow } from './window-answer';

/** What nodes say to each other (docs/protocol.md). Windows are streams in both directions: none is ever held whole. */
@ApiTags('between nodes')
@UseFilters(ProblemFilter)
@Controller('p2p')
export class ExchangeController {
  constructor(private readonly node: MeshNode) {}

  @Post('hello')
  @HttpCode(200)
  @ApiOperation({ summary: 'Two nodes introduce themselves' })
  hello(@JsonBody() body: unknown) {
    return this.node.running.exchange.hello(body);
  }

  @Post('window')
  @ApiOperation({
    summary: 'What is new since a position, or the next piece of a first copy; 204 when there is nothing',
  })
  @ApiProduces(windowContentType)
  async window(@JsonBody() body: unknown, @Req() request: Request, @Res() response: Response): Promise<void> {
    const served = await this.node.running.exchange.window(body, endOf(request, response));
    if (served === null) {
      response.status(204).end();
      return;
    }
    await answerWindow(served, request, response, this.node.configuration.timeout);
  }

  @Post('notify-changes')
  @HttpCode(200)
  @ApiOperation({ summary: 'A pushed window, or a hint (JSON) that there is one' })
  @ApiConsumes(windowContentType, 'application/json')
  async notify(@Req() request: Request) {
    const { exchange } = this.node.running;
    if (typeOf(request) !== windowContentType) return exchange.hint(jsonOf(request));
    const body = new RequestBody(request, windowContentType, this.node.configuration.timeout);
    try {
      const receiver = request.headers[receiverHeader];
      return await exchange.receive(decodeFrames(body.pieces()), typeof receiver === 'string' ? receiver : undefined);
    } catch (error) {
      const unreadable = error instanceof Problem ? error.cause : error;
      if (unreadable instanceof FrameError) await body.judge();
      throw error;
    } finally {
      await body.close();
    }
  }
}
