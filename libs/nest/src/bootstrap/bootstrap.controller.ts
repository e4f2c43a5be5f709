import { Controller, Get, HttpCode, Param, Post, UseFilters } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiTags } from '@nestjs/swagger';
import { JsonBody } from '../http/json-body';
import { ProblemFilter } from '../http/problem.filter';
import { BootstrapServing } from './serving';

const who = { node_id: 'node1', instance: '0b5f7a2e-2f0a-4a0b-9c55-6a1c0d8d7d10', room: 'default' };

/** What nodes say to a bootstrap node (docs/discovery.md). */
@ApiTags('bootstrap')
@UseFilters(ProblemFilter)
@Controller('p2p/bootstrap')
export class BootstrapController {
  constructor(private readonly serving: BootstrapServing) {}

  @Post('reg')
  @HttpCode(200)
  @ApiOperation({ summary: 'REG: a node is there, and where; its lease begins anew' })
  @ApiBody({ schema: { example: { ...who, protocol: 1, urls: ['https://node1.example.com'] } } })
  reg(@JsonBody() body: unknown) {
    return this.serving.introducing.reg(body);
  }

  @Post('unreg')
  @HttpCode(200)
  @ApiOperation({ summary: 'UNREG: it is forgotten' })
  @ApiBody({ schema: { example: who } })
  unreg(@JsonBody() body: unknown) {
    return this.serving.introducing.unreg(body);
  }

  @Post('join')
  @HttpCode(200)
  @ApiOperation({ summary: 'JOIN: it is handed neighbours of its room, and handed to others from now on' })
  @ApiBody({ schema: { example: { ...who, count: 8 } } })
  join(@JsonBody() body: unknown) {
    return this.serving.introducing.join(body);
  }

  @Post('leave')
  @HttpCode(200)
  @ApiOperation({ summary: 'LEAVE: it is handed to nobody any more; its lease stays' })
  @ApiBody({ schema: { example: who } })
  leave(@JsonBody() body: unknown) {
    return this.serving.introducing.leave(body);
  }

  @Get()
  @ApiOperation({ summary: 'The rooms that are known here, and how many members each has' })
  overview() {
    return this.serving.introducing.overview();
  }

  @Get(':room')
  @ApiOperation({ summary: 'The members of one room' })
  room(@Param('room') room: string) {
    return this.serving.introducing.room(room);
  }
}
