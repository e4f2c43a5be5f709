import { Controller, Get, HttpCode, Post, Query, UseFilters } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiQuery, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { checked, JsonBody } from '../http/json-body';
import { ProblemFilter } from '../http/problem.filter';
import { MeshNode } from '../node/mesh-node';
import { sharedTable } from './shared-table';

const nothing = z.strictObject({});
const bidirectional = z.strictObject({
  peer_id: z.string().optional(),
  tables: z.array(z.string()).max(10_000).optional(),
});
const page = z.strictObject({
  limit: z
    .string()
    .regex(/^\d{1,4}$/, 'must be a whole number from 1 to 1000')
    .transform(Number)
    .refine((value) => value >= 1 && value <= 1000, 'must be a whole number from 1 to 1000')
    .default(50),
});

@ApiTags('sync')
@UseFilters(ProblemFilter)
@Controller('p2p/sync')
export class SyncController {
  constructor(private readonly node: MeshNode) {}

  @Post('manual')
  @HttpCode(200)
  @ApiOperation({ summary: 'Exchanges with all peers now, and tells how it went' })
  async manual(@JsonBody(checked(nothing)) _body: object) {
    return { peers: await this.node.running.mesh.syncNow() };
  }

  @Post('bidirectional')
  @HttpCode(200)
  @ApiOperation({ summary: 'Pulls from and pushes to one peer, or all, now' })
  @ApiBody({ schema: { example: { peer_id: 'node2', tables: ['products'] } } })
  async bidirectional(@JsonBody(checked(bidirectional)) { peer_id, tables }: z.infer<typeof bidirectional>) {
    const { mesh, store } = this.node.running;
    const named = tables?.map((name) => sharedTable(store.tables(), name));
    return { peers: await mesh.syncNow(peer_id, named) };
  }

  @Get('history')
  @ApiOperation({ summary: 'What was exchanged, the latest first' })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 1000, default: 50 } })
  history(@Query(checked(page)) { limit }: z.infer<typeof page>) {
    return this.node.running.store.history.list(limit);
  }
}
