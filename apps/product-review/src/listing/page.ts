import { SelectQueryBuilder, sql } from 'kysely';
import { z } from 'zod';

export interface Page<Row> {
  items: Row[];
  /** How many there are in all pages. */
  total: number;
  limit: number;
  offset: number;
}

interface Sort {
  column: string;
  direction: 'asc' | 'desc';
}

/** `sort=name,-created_at`: columns in order of weight, a minus for descending. */
function sortBy(columns: readonly string[]) {
  const known = new Set(columns);
  return z
    .string()
    .max(200)
    .refine(
      (text) => text.split(',').every((part) => known.has(part.replace(/^-/, ''))),
      `must be columns such as "${columns[0]},-${columns.at(-1)}", out of: ${columns.join(', ')}`,
    )
    .default('-id')
    .transform((text): Sort[] =>
      text.split(',').map((part) => ({ column: part.replace(/^-/, ''), direction: part[0] === '-' ? 'desc' : 'asc' })),
    );
}

/** The query of a list: a page, an order, and the table's own filters. Anything else in it is refused by name. */
export function listQuery<Filters extends z.ZodRawShape>(sortable: readonly string[], filters: Filters) {
  return z.strictObject({
    limit: z.coerce.number().int().min(1).max(200).default(50),
    offset: z.coerce.number().int().min(0).max(1_000_000).default(0),
    sort: sortBy(sortable),
    updated_since: z.iso.datetime({ offset: true }).optional(),
    ...filters,
  });
}

export const pageOf = <Item extends z.ZodType>(item: Item) =>
  z.object({ items: z.array(item), total: z.int(), limit: z.int(), offset: z.int() });

/**
 * One page of what the query selects. The id settles what the order leaves open, so that no row is shown on two pages. The
 * columns in `sort` have passed `sortBy`; kysely quotes them.
 */
export async function page<DB, Table extends keyof DB, Row>(
  rows: SelectQueryBuilder<DB, Table, Row>,
  { limit, offset, sort }: { limit: number; offset: number; sort: Sort[] },
): Promise<Page<Row>> {
  const counted = await rows
    .clearSelect()
    .select((eb) => eb.fn.countAll().as('total'))
    .$castTo<{ total: string }>()
    .executeTakeFirstOrThrow();
  const order = [...sort, { column: 'id', direction: 'desc' } as const];
  const items = await order
    .reduce((query, { column, direction }) => query.orderBy(sql.ref(column), direction), rows)
    .limit(limit)
    .offset(offset)
    .execute();
  return { items, total: Number(counted.total), limit, offset };
}

/** A LIKE pattern for text that holds the given one, taken literally. */
export const containing = (text: string) => `%${text.replaceAll(/[\\%_]/g, '\\$&')}%`;
