import { Controller, Get, HttpCode, Param, Post, Query, UseFilters } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiParam, ApiQuery, ApiTags } from '@nestjs/swagger';
import type { ParkedView } from '@pgmesh/store';
import { Problem } from '@pgmesh/wire';
import { z } from 'zod';
import { checked, JsonBody } from '../http/json-body';
import { ProblemFilter } from '../http/problem.filter';
import { MeshNode } from '../node/mesh-node';
import { recordsPage, rowTexts } from './row-records';
import { sharedTable } from './shared-table';

const nothing = z.strictObject({});
const changed = z.strictObject({ row: rowTexts });

/** Rows that an answer names; what there is beyond them is counted. */
const namedMost = 1_000;

const anId = ApiParam({ name: 'id', example: 1 });

@ApiTags('parked')
@UseFilters(ProblemFilter)
@Controller('p2p/parked')
export class ParkedController {
  constructor(private readonly node: MeshNode) {}

  @Get()
  @ApiOperation({ summary: 'Rows that do not stand in their tables: why, and what they wait for; the newest first' })
  @ApiQuery({ name: 'table', required: false, description: 'With its schema, or in public' })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 500, default: 50 } })
  @ApiQuery({ name: 'cursor', required: false, description: 'The `cursor` of an earlier answer' })
  list(@Query(checked(recordsPage)) { table, ...query }: z.infer<typeof recordsPage>) {
    const { store } = this.node.running;
    return store.parked.list({
      ...query,
      ...(table !== undefined && { table: sharedTable(store.tables(), table) }),
    });
  }

  @Get(':id')
  @anId
  @ApiOperation({ summary: 'One parked row' })
  find(@Param('id') id: string) {
    return this.node.running.store.parked.find(idOf(id));
  }

  @Post('retry')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Tries all parked rows again: for what no node can see change, such as a function that a CHECK calls',
  })
  async retry(@JsonBody(checked(nothing)) _body: object) {
    const { store } = this.node.running;
    const { returned } = await store.settleParked();
    const left = await store.parked.count();
    return {
      returned: returned.slice(0, namedMost),
      returned_count: returned.length,
      parked: Object.values(left).reduce((sum, count) => sum + count, 0),
      parked_tables: left,
    };
  }

  @Post(':id/discard')
  @HttpCode(200)
  @anId
  @ApiOperation({ summary: 'Gives a parked row up on all nodes: a delete, which travels. Answers the row as it was' })
  async discard(@Param('id') id: string, @JsonBody(checked(nothing)) _body: object) {
    return this.told(await this.node.running.store.parked.discard(idOf(id)), false);
  }

  @Post(':id/change')
  @HttpCode(200)
  @anId
  @ApiOperation({
    summary:
      'Writes a parked row otherwise, so that its table takes it: a write, which travels. Answers the row as it was',
  })
  @ApiBody({
    schema: {
      type: 'object',
      required: ['row'],
      properties: {
        row: {
          type: 'object',
          additionalProperties: { type: 'string', nullable: true },
          description: "Columns as PostgreSQL's text; those that are left out stay as they are",
        },
      },
      example: { row: { mail: 'ann.second@example.org' } },
    },
  })
  async change(@Param('id') id: string, @JsonBody(checked(changed)) { row }: z.infer<typeof changed>) {
    return this.told(await this.node.running.store.parked.change(idOf(id), row), true);
  }

  private told(view: ParkedView, stands: boolean): ParkedView {
    const { id, table, key, reason, constraint, message } = view;
    this.node.running.mesh.events.emit({ type: 'unparked', stands, id, table, key, reason, constraint, message });
    return view;
  }
}

function idOf(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new Problem('not_found', 'No row is parked under that id here. GET /p2p/parked lists those that are.');
}
