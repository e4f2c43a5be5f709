import { Controller, Get, Param, Post, Query, Req, Res, UseFilters } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiParam, ApiProduces, ApiQuery, ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { z } from 'zod';
import { checked, JsonBody } from '../http/json-body';
import { ProblemFilter } from '../http/problem.filter';
import { problemOf } from '../http/problem-answer';
import { endOf } from '../http/request-end';
import { MeshNode } from '../node/mesh-node';
import { sharedTable } from './shared-table';

const verifying = z.strictObject({
  /** A node id, or the URL of a link. */
  peer: z.string().min(1).max(2048).optional(),
  table: z.string().min(1).max(300).optional(),
  repair: z.boolean().default(false),
});

const key = z.string().max(100_000).optional();
const digesting = z.strictObject({
  from: key,
  to: key,
  parts: z
    .string()
    .regex(/^\d{1,2}$/, 'must be a whole number from 1 to 64')
    .transform(Number)
    .refine((value) => value >= 1 && value <= 64, 'must be a whole number from 1 to 64')
    .default(16),
});

/** Comparing with other nodes, and repairing what differs (docs/verify.md). */
@ApiTags('sync')
@UseFilters(ProblemFilter)
@Controller('p2p')
export class VerifyController {
  constructor(private readonly node: MeshNode) {}

  @Post('verify')
  @ApiOperation({
    summary: 'Compares rows with a peer, or with all that are live, and repairs what differs where that is asked for',
    description:
      'JSON lines as it goes on: `progress`, a `table` when it was compared, a `peer` when all of its tables were.',
  })
  @ApiBody({ schema: { example: { peer: 'node2', table: 'products', repair: true } } })
  @ApiProduces('application/x-ndjson')
  async verify(
    @JsonBody(checked(verifying)) { peer, table, repair }: z.infer<typeof verifying>,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    const { mesh, store } = this.node.running;
    const tables = table === undefined ? undefined : [sharedTable(store.tables(), table)];
    mesh.assertKnown(peer);
    response.status(200).setHeader('content-type', 'application/x-ndjson');
    const tell = (line: object): void => void response.write(`${JSON.stringify(line)}\n`);
    const compared = (node: string, one: object): void => tell({ type: 'table', peer: node, ...one });
    const progress = (name: string, rows: number): void => tell({ type: 'progress', table: name, rows });
    try {
      const peers = await mesh.compare({ peer, tables, repair, compared, progress }, endOf(request, response));
      for (const { peer: name, error } of peers) tell({ type: 'peer', peer: name, error });
    } catch (error) {
      // The answer has begun: what went wrong is its last line.
      const { code, message: detail } = problemOf(error);
      tell({ type: 'error', code, detail });
    }
    response.end();
  }

  @Get('table/:table/digest')
  @ApiParam({ name: 'table', example: 'public.products', description: 'With its schema, or in public' })
  @ApiQuery({
    name: 'from',
    required: false,
    description: 'The first key of the range: plain text, or a JSON array of texts',
  })
  @ApiQuery({ name: 'to', required: false, description: 'The first key behind the range' })
  @ApiQuery({ name: 'parts', required: false, schema: { type: 'integer', minimum: 1, maximum: 64, default: 16 } })
  @ApiOperation({ summary: "Digests of a table's rows and versions, over ranges [from, to) of its primary key" })
  async digest(@Param('table') name: string, @Query(checked(digesting)) query: z.infer<typeof digesting>) {
    const { store } = this.node.running;
    const table = sharedTable(store.tables(), name);
    const bound = async (text?: string) => (text === undefined ? null : store.rows.key(table, text));
    const [from, to] = [await bound(query.from), await bound(query.to)];
    const form = store.forms().get(table)!.form;
    const columns = form.columns.filter(({ generated }) => !generated).map(({ name: column }) => column);
    const order = await store.digests.order(table);
    const settled = await store.digests.settled(table);
    const comparison = { table, columns, settled, byIndex: order !== null };
    const [read] = await store.digests.read(comparison, [{ from, to, by: 'parts', parts: query.parts }]);
    const parts = read!.parts!;
    const ranges = parts.map((part, i) => ({
      from: part.from,
      to: i + 1 < parts.length ? parts[i + 1]!.from : to,
      rows: part.live,
      others: part.rows - part.live,
      digest: part.digest,
    }));
    return { table: table.replace(/^public\./, ''), node_id: store.identity.nodeId, columns, order, ranges };
  }
}
