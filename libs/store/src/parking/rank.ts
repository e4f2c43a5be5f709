import { escapeLiteral } from 'pg';
import { inMeta, keysAfter } from '../keys';
import type { TableShape } from '../table-shape';

/** SQL for what a row ranks by besides its primary key, of its metadata (docs/parking.md). */
function stampOf({ key, oldestFirst }: TableShape, meta: string): { readonly stamp: string; readonly origin: string } {
  if (!oldestFirst) return { stamp: `${meta}.stamp`, origin: `${meta}.origin` };
  const at = `${meta}.fields -> ${escapeLiteral(key[0]!.name)} -> 'at'`;
  return {
    stamp: `coalesce((${at} ->> 0)::int8, ${meta}.stamp)`,
    origin: `coalesce(${at} ->> 1, ${meta}.origin) COLLATE "C"`,
  };
}

/** SQL's order of ranks, the highest first: the newest version, or the oldest row; of one write the key that comes after. */
export function byRank(shape: TableShape, meta: string): string {
  const { stamp, origin } = stampOf(shape, meta);
  const sense = shape.oldestFirst ? 'ASC' : 'DESC';
  const keys = shape.key.map((column, i) => `${meta}.key${i + 1} USING OPERATOR(${column.after})`);
  return [`${stamp} ${sense}`, `${origin} ${sense}`, ...keys].join(', ');
}

/** Whether the row of one metadata row is above that of the other. */
export function isAbove(shape: TableShape, one: string, other: string): string {
  const [a, b] = [one, other].map((meta) => {
    const { stamp, origin } = stampOf(shape, meta);
    return `(${stamp}, ${origin})`;
  });
  const beyond = shape.oldestFirst ? '<' : '>';
  return `(${a} ${beyond} ${b} OR ${a} = ${b} AND ${keysAfter(shape, inMeta(one), inMeta(other))})`;
}
