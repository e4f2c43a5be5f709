import type { CopyPoint } from '@pgmesh/core';
import type { PoolClient } from 'pg';
import { inMeta, keysAfter, metaKeys, textKey } from '../keys';
import type { TableShape } from '../table-shape';
import { isLacking, type LeftOut, leftOutLiterals } from './left-out';

/** A piece of a first copy: a range of keys in one table or in several, and where the next piece starts. */
export interface PiecePlan {
  readonly parts: readonly { readonly shape: TableShape; readonly versions: string }[];
  readonly next: CopyPoint | null;
  /** At most this many rows. */
  readonly rows: number;
}

/**
 * Plans the next piece of a first copy, `limit` rows at most, by key ranges over the tables in the order of their names. Every
 * piece is read under a snapshot of its own; what changes behind it comes with the stream, which starts at the first piece's.
 */
export async function planPiece(
  client: PoolClient,
  shapes: readonly TableShape[],
  at: CopyPoint | null,
  leftOut: (table: string) => LeftOut,
  limit: number,
): Promise<PiecePlan> {
  const ordered = [...shapes].sort((a, b) => (a.name < b.name ? -1 : 1));
  const remaining = at ? ordered.filter((shape) => shape.name >= at.table) : ordered;
  const parts: PiecePlan['parts'][number][] = [];
  let budget = limit;
  for (const shape of remaining) {
    const after = at?.table === shape.name ? at.after : null;
    if (budget <= 0) return { parts, next: { table: shape.name, after }, rows: limit };
    const last = await lastKey(client, shape, after, budget);
    parts.push({ shape, versions: keyRange(shape, after, last, leftOut(shape.name)) });
    if (last) return { parts, next: { table: shape.name, after: last }, rows: limit };
    budget -= await countFrom(client, shape, after, budget);
  }
  return { parts, next: null, rows: limit - budget };
}

/** Bytes of metadata up to which a table's rows are counted; of a larger one the planner's guess is as good. */
const counted = 4 * 1024 * 1024;

/** About how many rows a first copy of these tables goes past. */
export async function estimateRows(client: PoolClient, shapes: readonly TableShape[]): Promise<number> {
  let sum = 0;
  for (const { meta } of shapes) {
    const size = await client.query<{ size: number }>('SELECT pg_relation_size($1::text::regclass) AS size', [meta]);
    sum += await (size.rows[0]!.size <= counted ? countAll(client, meta) : guessAll(client, meta));
  }
  return sum;
}

async function countAll(client: PoolClient, meta: string): Promise<number> {
  return (await client.query<{ count: number }>(`SELECT count(*) FROM ${meta}`)).rows[0]!.count;
}

async function guessAll(client: PoolClient, meta: string): Promise<number> {
  const { rows } = await client.query<{ 'QUERY PLAN': { Plan: { 'Plan Rows': number } }[] }>(
    `EXPLAIN (FORMAT JSON) SELECT FROM ${meta}`,
  );
  return rows[0]!['QUERY PLAN'][0]!.Plan['Plan Rows'];
}

/** The key of the `count`-th row after `after`; null when there are not more rows than that. */
async function lastKey(
  client: PoolClient,
  shape: TableShape,
  after: readonly string[] | null,
  count: number,
): Promise<string[] | null> {
  const { rows } = await client.query<{ key: string[] }>(
    `SELECT ${textKey(shape, 'm')} AS key
     FROM ${shape.meta} AS m ${after ? `WHERE ${rangeStart(shape, after)}` : ''}
     ORDER BY ${metaKeys(shape, 'm')} OFFSET ${count - 1} LIMIT 2`,
  );
  return rows.length > 1 ? rows[0]!.key : null;
}

async function countFrom(
  client: PoolClient,
  shape: TableShape,
  after: readonly string[] | null,
  most: number,
): Promise<number> {
  const { rows } = await client.query<{ count: number }>(
    `SELECT count(*) FROM (SELECT FROM ${shape.meta} AS m ${after ? `WHERE ${rangeStart(shape, after)}` : ''} LIMIT ${most}) AS x`,
  );
  return rows[0]!.count;
}

/** The versions with keys in (after, last]. */
function keyRange(
  shape: TableShape,
  after: readonly string[] | null,
  last: readonly string[] | null,
  leftOut: LeftOut,
): string {
  const conditions = [
    ...(after ? [rangeStart(shape, after, 'v')] : []),
    ...(last ? [`NOT ${keysAfter(shape, inMeta('v'), (column, i) => literal(last[i]!, column.type))}`] : []),
    isLacking(leftOutLiterals(leftOut)),
  ];
  return `(SELECT v.* FROM ${shape.meta} AS v WHERE ${conditions.join(' AND ')})`;
}

function rangeStart(shape: TableShape, after: readonly string[], alias = 'm'): string {
  return keysAfter(shape, inMeta(alias), (column, i) => literal(after[i]!, column.type));
}

/** Keys come back from the reader as text. As an escaped literal, cast to the key's type: bad ones are refused by PostgreSQL. */
function literal(text: string, type: string): string {
  return `E'${text.replace(/[\\']/g, '\\$&')}'::${type}`;
}
