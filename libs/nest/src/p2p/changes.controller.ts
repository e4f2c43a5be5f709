import { Controller, Get, Param, Query, Req, Res, UseFilters } from '@nestjs/common';
import { ApiOperation, ApiParam, ApiQuery, ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { z } from 'zod';
import { endOf } from '../http/request-end';
import { checked } from '../http/json-body';
import { ProblemFilter } from '../http/problem.filter';
import { MeshNode } from '../node/mesh-node';
import { sharedTable } from './shared-table';

const whole = (least: number, most: number) =>
  z
    .string()
    .regex(/^\d{1,6}$/, `must be a whole number from ${least} to ${most}`)
    .transform(Number)
    .refine((value) => value >= least && value <= most, `must be a whole number from ${least} to ${most}`);

/** A `+` that was not percent-encoded arrives as a blank. */
const time = z
  .string()
  .transform((text) => text.replace(/ (?=\d\d:?\d\d$)/, '+'))
  .pipe(
    z.union(
      [z.iso.datetime({ offset: true, local: true }), z.iso.date()],
      'must be a time such as 2026-01-31T12:00:00Z',
    ),
  )
  .transform((text) => new Date(/([zZ]|[+-]\d\d:?\d\d)$/.test(text) || text.length === 10 ? text : `${text}Z`));

const changesQuery = z
  .strictObject({
    since: time.optional(),
    cursor: z.string().max(100_000).optional(),
    limit: whole(1, 10_000).default(100),
    wait: whole(0, 60).default(0),
  })
  .refine(({ since, cursor }) => since === undefined || cursor === undefined, 'Give since or cursor, not both');

@ApiTags('changes')
@UseFilters(ProblemFilter)
@Controller('p2p/table')
export class ChangesController {
  constructor(private readonly node: MeshNode) {}

  @Get(':table/changes')
  @ApiOperation({ summary: 'What changed in a shared table, in the order of the last change' })
  @ApiParam({ name: 'table', example: 'public.products', description: 'With its schema, or in public' })
  @ApiQuery({ name: 'since', required: false, description: 'A time in ISO 8601' })
  @ApiQuery({ name: 'cursor', required: false, description: 'The `cursor` of an earlier answer' })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 10_000, default: 100 } })
  @ApiQuery({
    name: 'wait',
    required: false,
    schema: { type: 'integer', minimum: 0, maximum: 60, default: 0 },
    description: 'Seconds to hold the request until there is something',
  })
  async changes(
    @Param('table') name: string,
    @Query(checked(changesQuery)) { wait, ...query }: z.infer<typeof changesQuery>,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    const { store, stopping } = this.node.running;
    const table = sharedTable(store.tables(), name);
    const signal = AbortSignal.any([endOf(request, response), stopping, AbortSignal.timeout(wait * 1000)]);
    for (;;) {
      const news = nextNews(store, signal);
      const page = await store.changes(table, query);
      if (page.count > 0 || signal.aborted) {
        news.cancel();
        response.type('application/json').send(page.json);
        return;
      }
      await news.arrived;
    }
  }
}

/** Listens before the page is read, so that nothing falls between reading and waiting. */
function nextNews(store: { feed: { onNews(listener: () => void): () => void } }, signal: AbortSignal) {
  let cancel = (): void => {};
  const arrived = new Promise<void>((resolve) => {
    const end = store.feed.onNews(() => cancel());
    cancel = () => {
      end();
      signal.removeEventListener('abort', cancel);
      resolve();
    };
    signal.addEventListener('abort', cancel);
    if (signal.aborted) cancel();
  });
  return { arrived, cancel: () => cancel() };
}
