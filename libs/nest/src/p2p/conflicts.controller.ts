import { Controller, Get, HttpCode, Param, Post, Query, UseFilters } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiParam, ApiQuery, ApiTags } from '@nestjs/swagger';
import { Problem } from '@pgmesh/wire';
import { z } from 'zod';
import { checked, JsonBody } from '../http/json-body';
import { ProblemFilter } from '../http/problem.filter';
import { MeshNode } from '../node/mesh-node';
import { recordsPage, rowTexts } from './row-records';
import { sharedTable } from './shared-table';

const page = recordsPage.extend({
  status: z.enum(['open', 'settled'], 'must be open or settled').optional(),
});

const version = z.strictObject({ stamp: z.int().nonnegative(), origin: z.string().max(200) });

const decision = z
  .strictObject({ version: version.optional(), row: rowTexts.nullable().optional() })
  .transform((told, context) => {
    if (told.version !== undefined && told.row === undefined) return { version: told.version };
    if (told.row !== undefined && told.version === undefined) return { row: told.row };
    context.addIssue({
      code: 'custom',
      message: 'Give version ({stamp, origin}) or row (column: text; null deletes it), one of the two',
    });
    return z.NEVER;
  });

@ApiTags('conflicts')
@UseFilters(ProblemFilter)
@Controller('p2p/conflicts')
export class ConflictsController {
  constructor(private readonly node: MeshNode) {}

  @Get()
  @ApiOperation({ summary: 'Rows that have, or had, several concurrent versions, the newest first' })
  @ApiQuery({ name: 'table', required: false, description: 'With its schema, or in public' })
  @ApiQuery({
    name: 'status',
    required: false,
    enum: ['open', 'settled'],
    description: '`open`: somebody has to decide',
  })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 500, default: 50 } })
  @ApiQuery({ name: 'cursor', required: false, description: 'The `cursor` of an earlier answer' })
  list(@Query(checked(page)) { table, ...query }: z.infer<typeof page>) {
    const { store } = this.node.running;
    return store.conflicts.list({
      ...query,
      ...(table !== undefined && { table: sharedTable(store.tables(), table) }),
    });
  }

  @Get(':id')
  @ApiOperation({ summary: 'One conflict, with all its versions' })
  @ApiParam({ name: 'id', example: 1 })
  find(@Param('id') id: string) {
    return this.node.running.store.conflicts.find(idOf(id));
  }

  @Post(':id/resolve')
  @HttpCode(200)
  @ApiOperation({ summary: 'Decides a conflict by one of its versions or by a new row: a write that covers them all' })
  @ApiParam({ name: 'id', example: 1 })
  @ApiBody({
    schema: {
      type: 'object',
      examples: [
        { version: { stamp: 1795249934110944, origin: 'node1~44921692c283' } },
        { row: { name: 'Kettle', price: '39.90' } },
        { row: null },
      ],
    },
  })
  async resolve(@Param('id') id: string, @JsonBody(checked(decision)) told: z.infer<typeof decision>) {
    const { store, mesh } = this.node.running;
    const conflict = await store.conflicts.resolve(idOf(id), told);
    const { table, key, ended_by } = conflict;
    if (ended_by) mesh.events.emit({ type: 'conflict_ended', id: conflict.id, table, key, ended_by });
    return conflict;
  }
}

function idOf(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new Problem(
    'not_found',
    'There is no conflict of that id here. GET /p2p/conflicts lists those that there are.',
  );
}
