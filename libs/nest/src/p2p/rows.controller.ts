import { Controller, Get, HttpCode, Param, Post, UseFilters } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { KeptVersion } from '@pgmesh/store';
import { z } from 'zod';
import { checked, JsonBody } from '../http/json-body';
import { ProblemFilter } from '../http/problem.filter';
import { MeshNode } from '../node/mesh-node';
import { sharedTable } from './shared-table';

/** 2^53 - 1: stamps are exact as JSON numbers. */
const restoring = z.strictObject({
  version: z.strictObject({
    stamp: z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER),
    origin: z.string().min(1).max(200),
  }),
});

const aTable = ApiParam({ name: 'table', example: 'public.products', description: 'With its schema, or in public' });
const aKey = ApiParam({
  name: 'key',
  example: '42',
  description: 'The primary key: plain text, or a JSON array of texts where it has several columns',
});

@ApiTags('rows')
@UseFilters(ProblemFilter)
@Controller('p2p/table/:table/rows/:key')
export class RowsController {
  constructor(private readonly node: MeshNode) {}

  @Get('history')
  @aTable
  @aKey
  @ApiOperation({ summary: "A row's last versions with their values, the newest first" })
  async history(@Param('table') name: string, @Param('key') text: string) {
    const { store } = this.node.running;
    const table = sharedTable(store.tables(), name);
    const { key, versions } = await store.rows.history(table, text);
    return { table: table.replace(/^public\./, ''), key, versions: versions.map(shown) };
  }

  @Get('why')
  @aTable
  @aKey
  @ApiOperation({ summary: 'Which node wrote what of a row and when, by which rule it stands, and against what' })
  async why(@Param('table') name: string, @Param('key') text: string) {
    const { store } = this.node.running;
    return store.rows.why(sharedTable(store.tables(), name), text);
  }

  @Post('restore')
  @HttpCode(200)
  @aTable
  @aKey
  @ApiOperation({ summary: 'Writes a row again as it was under a version: an ordinary write, which travels' })
  @ApiBody({ schema: { example: { version: { stamp: 1795249934110944, origin: 'node1~44921692c283' } } } })
  async restore(
    @Param('table') name: string,
    @Param('key') text: string,
    @JsonBody(checked(restoring)) { version }: z.infer<typeof restoring>,
  ) {
    const { store } = this.node.running;
    const table = sharedTable(store.tables(), name);
    const { key, version: written, leftOut } = await store.rows.restore(table, text, version);
    return { table: table.replace(/^public\./, ''), key, restored: version, version: written, left_out: leftOut };
  }
}

function shown({ stamp, origin, priority, vector, deleted, row, how, recordedAt, current }: KeptVersion) {
  return {
    stamp,
    at: new Date(stamp / 1000).toISOString(),
    origin,
    node_id: origin.replace(/~.*$/, ''),
    priority,
    vector,
    deleted,
    row,
    how,
    recorded_at: recordedAt,
    current,
  };
}
