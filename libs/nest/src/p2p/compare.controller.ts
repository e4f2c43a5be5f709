import { Controller, HttpCode, Post, Req, Res, UseFilters } from '@nestjs/common';
import { ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import { windowContentType } from '@pgmesh/wire';
import type { Request, Response } from 'express';
import { JsonBody } from '../http/json-body';
import { ProblemFilter } from '../http/problem.filter';
import { MeshNode } from '../node/mesh-node';
import { answerWindow } from './window-answer';

/** What nodes ask each other when they compare their rows (docs/verify.md). */
@ApiTags('between nodes')
@UseFilters(ProblemFilter)
@Controller('p2p')
export class CompareController {
  constructor(private readonly node: MeshNode) {}

  @Post('digest')
  @HttpCode(200)
  @ApiOperation({ summary: "Digests of ranges of a table's keys" })
  digest(@JsonBody() body: unknown) {
    return this.node.running.mesh.comparisons.digest(body);
  }

  @Post('held')
  @HttpCode(200)
  @ApiOperation({ summary: 'How single rows are held here, and how far each side has read' })
  held(@JsonBody() body: unknown) {
    return this.node.running.mesh.comparisons.held(body);
  }

  @Post('settle')
  @HttpCode(200)
  @ApiOperation({ summary: 'Gives versions to rows that were written here past capture' })
  settle(@JsonBody() body: unknown) {
    return this.node.running.mesh.comparisons.settle(body);
  }

  @Post('rows')
  @ApiOperation({ summary: 'Single rows with their versions, as a window' })
  @ApiProduces(windowContentType)
  async rows(@JsonBody() body: unknown, @Req() request: Request, @Res() response: Response): Promise<void> {
    const served = await this.node.running.mesh.comparisons.rows(body);
    await answerWindow(served, request, response, this.node.configuration.timeout);
  }
}
