import { finished } from 'node:stream/promises';
import {
  cutSnapshot,
  type Knowledge,
  parsePgSnapshot,
  type Seen,
  type Snapshot,
  withoutTransactions,
} from '@pgmesh/core';
import type { Frame } from '@pgmesh/wire';
import type { PoolClient } from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import type { TableShape } from '../table-shape';
import { guardedTables, type GuardRow } from '../forgetting/guards';
import { inMeta, keysEqual } from '../keys';
import { typed } from '../typed-text';
import { unflushed } from './durable';
import { isLacking, type LeftOut, leftOutArgs, leftOutLiterals, leftOutValues, textArray } from './left-out';
import { columnarQuery, rowsQuery, windowCondition } from './window-query';
import { type PositionRow, positionColumns, toKnowledge, toSeen } from '../positions';
import { burst, prepared } from '../prepared';

/** Tables with at most this many rows in a window travel as column literals, larger ones as COPY. */
const columnarRows = 500;
/** Bytes of a table's values that are read as columns, by their sizes as stored; larger parts travel as COPY, which needs no memory. */
const columnarBytes = 2 * 1024 * 1024;
/** Bytes of a table's column literals as printed, above which they are thrown away and the rows read as COPY. A frame takes twice that. */
const literalBytes = 4 * 1024 * 1024;
/** Bytes of column literals in one window, half of what a receiver of ours holds. */
export const windowBytes = 8 * 1024 * 1024;
const noXid = 18446744073709551615n;

/** What of a window's snapshot has to be known before its rows are counted. */
export interface Present {
  readonly snapshot: Snapshot;
  /** How far we had come in every feed. */
  readonly knowledge: Knowledge;
  /** What of each origin's own writes was here. */
  readonly seen: Seen;
  /** Up to where the log has to be flushed before it is told; null when it is. */
  readonly unflushed: string | null;
  readonly guarded: readonly GuardRow[];
}

/** What a window's snapshot shows, before its rows are read. */
export interface Probe {
  readonly tables: readonly { readonly shape: TableShape; readonly count: number; readonly own: number }[];
  readonly rows: number;
  readonly own: number;
}

/** Bounds of a window in transaction ids, as texts. */
export interface Bounds {
  readonly from: string;
  readonly below: string;
  readonly xip: readonly string[];
}

const bound = { from: '$1::xid8', below: '$2::xid8', xip: '$3::xid8[]', ...leftOutArgs(4) };
/** The first parameter behind these. */
const more = '$9';

/** Begins the transaction that a window is read in. */
export async function beginWindow(client: PoolClient, shared: readonly string[]): Promise<Present> {
  const [, { rows }, { rows: guarded }] = await burst(client, [
    { text: 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY' },
    prepared(
      `SELECT pg_current_snapshot()::text AS present, ${unflushed} AS unflushed, ${positionColumns} FROM (SELECT) AS one LEFT JOIN p2p.position ON true`,
      [],
    ),
    guardedTables,
  ]);
  const positions = rows.filter((row) => row.node !== null) as unknown as PositionRow[];
  const { present, unflushed: lsn } = rows[0] as { present: string; unflushed: string | null };
  return {
    snapshot: parsePgSnapshot(present),
    knowledge: toKnowledge(positions),
    seen: toSeen(positions, shared),
    unflushed: lsn,
    guarded: guarded as unknown as GuardRow[],
  };
}

/** Counts, up to `limit` + 1 a table, what `from` did not show. One statement over all tables. */
export async function probe(
  client: PoolClient,
  shapes: readonly TableShape[],
  from: Snapshot,
  leftOut: LeftOut,
  limit: number,
): Promise<Probe> {
  if (shapes.length === 0) return { tables: [], rows: 0, own: 0 };
  const counts = shapes.map(
    (shape) => `(SELECT ARRAY[count(*), count(*) FILTER (WHERE p.via IS NULL)] FROM
      (SELECT * FROM ${windowCondition(shape, 'v.via', bound)} AS q LIMIT ${more}) AS p)`,
  );
  const { rows } = await client.query<{ counts: [number, number][] }>(
    prepared(`SELECT to_json(ARRAY[${counts.join(', ')}]::int8[]) AS counts`, [
      String(from.xmax),
      String(noXid),
      from.xip.map(String),
      ...leftOutValues(leftOut),
      limit + 1,
    ]),
  );
  const { counts: found } = rows[0]!;
  const tables = shapes
    .map((shape, i) => ({ shape, count: found[i]![0], own: found[i]![1] }))
    .filter(({ count }) => count > 0);
  const sum = (of: 'count' | 'own') => tables.reduce((total, table) => total + table[of], 0);
  return { tables, rows: sum('count'), own: sum('own') };
}

/** What a window holds back. */
export interface Held {
  /** The transactions in which it came here. */
  readonly transactions: readonly bigint[];
  /** Of which origins it is, and those whose versions it covers: they are still to come with it. Null where some row is of several. */
  readonly origins: readonly string[] | null;
  /** Origins of rows that were held back before, and are not any more. */
  readonly overdue: readonly string[];
}

const nothingHeld: Held = { transactions: [], origins: [], overdue: [] };
/** Transactions that one position may name as still to come. What is more is sent. */
const mostHeld = 2000;

/** Finds what others are expected to bring; null when that is too much to be named. */
export async function findHeld(
  client: PoolClient,
  shapes: readonly TableShape[],
  from: Snapshot,
  leftOut: LeftOut,
): Promise<Held | null> {
  const { later } = leftOut;
  if (later === null || shapes.length === 0) return nothingHeld;
  // A row's own origin first.
  const columns = `v.xid, CASE WHEN v.siblings IS NULL THEN v.origin || ARRAY(SELECT k FROM jsonb_object_keys(v.past) AS k ORDER BY k) END AS origins`;
  const found = shapes.map((shape) => windowCondition(shape, columns, { ...bound, expected: true }));
  const { rows } = await client.query<{ xid: string; origins: string[] | null }>(
    prepared(
      `SELECT DISTINCT q.xid::text AS xid, q.origins FROM (${found.join(' UNION ALL ')}) AS q LIMIT ${mostHeld + 1}`,
      // How long it was waited for is judged below, of each.
      [String(from.xmax), String(noXid), from.xip.map(String), ...leftOutValues(leftOut).slice(0, -1)],
    ),
  );
  if (rows.length > mostHeld) return null;
  const isHeld = ({ xid }: { xid: string }) => BigInt(xid) >= later.from;
  const held = rows.filter(isHeld);
  const overdue = rows.filter((row) => !isHeld(row)).flatMap(({ origins }) => origins?.[0] ?? []);
  return {
    transactions: [...new Set(held.map(({ xid }) => BigInt(xid)))],
    origins: held.every(({ origins }) => origins !== null)
      ? [...new Set(held.flatMap(({ origins }) => origins!))]
      : null,
    overdue: [...new Set(overdue)],
  };
}

/**
 * Where to cut a window that has more than `limit` rows of a table: at a boundary between transactions, so that each arrives
 * whole; a transaction that is larger by itself travels alone. Null when nothing is to be cut.
 */
export async function findCut(
  client: PoolClient,
  tables: Probe['tables'],
  from: Snapshot,
  leftOut: LeftOut,
  limit: number,
): Promise<bigint | null> {
  const large = tables.filter(({ count }) => count > limit);
  if (large.length === 0) return null;
  const later = (shape: TableShape, offset: number) =>
    `(SELECT v.xid FROM ${shape.meta} AS v WHERE v.xid >= $1::xid8 AND ${isLacking(leftOutLiterals(leftOut))}
      ORDER BY v.xid OFFSET ${offset} LIMIT 1)`;
  const { rows } = await client.query<{ cut: string | null; first: string | null }>(
    `SELECT (SELECT min(x) FROM unnest(ARRAY[${large.map(({ shape }) => later(shape, limit)).join(', ')}]) AS x)::text AS cut,
       (SELECT min(x) FROM unnest(ARRAY[${tables.map(({ shape }) => later(shape, 0)).join(', ')}]) AS x)::text AS first`,
    [String(from.xmax)],
  );
  const { cut, first } = rows[0]!;
  if (cut === null) return null;
  return BigInt(cut) > BigInt(first!) ? BigInt(cut) : BigInt(first!) + 1n;
}

/**
 * The bounds of what `from` did not show, cut at `cut`, and the position that a reader of it reaches: what is held back is still to come.
 * Of such a transaction it may have other rows: up to `reached`.
 */
export function boundsOf(
  from: Snapshot,
  present: Snapshot,
  cut: bigint | null,
  held: Held = nothingHeld,
): { bounds: Bounds; to: Snapshot; reached: Snapshot } {
  const upTo = (shown: Snapshot) => (cut === null ? shown : cutSnapshot(from, shown, cut));
  const bounds = { from: String(from.xmax), below: String(cut ?? noXid), xip: from.xip.map(String) };
  return { bounds, to: upTo(withoutTransactions(present, held.transactions)), reached: upTo(present) };
}

/** The rows of one table as column literals; null when they are too large for that. */
export async function readColumns(
  client: PoolClient,
  shape: TableShape,
  bounds: Bounds,
  leftOut: LeftOut,
  budget: number,
): Promise<{ readonly frame: Frame & { type: 'rows' }; readonly bytes: number } | null> {
  const versions = windowCondition(shape, 'v.*', bound);
  const { rows } = await client.query<Record<string, string> & { count: number; deleted: number; bytes: number }>(
    prepared(columnarQuery(shape, versions, `${more}::int8`), [
      bounds.from,
      bounds.below,
      bounds.xip,
      ...leftOutValues(leftOut),
      Math.min(columnarBytes, budget),
    ]),
  );
  const { count, deleted, bytes, ...literals } = rows[0]!;
  if (bytes > Math.min(columnarBytes, budget)) return null;
  const printed = Object.values(literals);
  const size = printed.reduce((sum, literal) => sum + Buffer.byteLength(literal), 0);
  if (size > Math.min(literalBytes, budget)) return null;
  const frame = { type: 'rows' as const, ...named(shape), count, deleted, literals: printed };
  return { frame, bytes: size };
}

/** The rows of one table as a stream of COPY text. The statement takes no parameters; all that goes in is ours. */
export async function* copyRows(client: PoolClient, shape: TableShape, versions: string): AsyncGenerator<Frame> {
  // The small windows' connection is bound to index scans; a large one is better planned by its size.
  await client.query('SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on');
  yield { type: 'copy', ...named(shape) };
  const stream = client.query(copyTo(`COPY (${rowsQuery(shape, versions)}) TO STDOUT`));
  // Who leaves in the middle must not wait for the stream's end: the server is blocked writing to us. The connection is ended.
  for await (const bytes of stream as AsyncIterable<Buffer>) yield { type: 'data', bytes };
  await finished(stream);
  // How many there were is told after the data, perhaps in a packet of its own that this answer comes behind.
  await client.query('SELECT');
  yield { type: 'copied', table: shape.name, count: stream.rowCount };
}

export function versionsWithin(shape: TableShape, { from, below, xip }: Bounds, leftOut: LeftOut): string {
  return windowCondition(shape, 'v.*', {
    from: `'${from}'::xid8`,
    below: `'${below}'::xid8`,
    xip: `'{${xip.join(',')}}'::xid8[]`,
    ...leftOutLiterals(leftOut),
  });
}

/** Those of single rows, each once, however its key is written. The keys are PostgreSQL's text. */
export function versionsOf(shape: TableShape, keys: readonly (readonly string[])[]): string {
  const texts = shape.key.map((_, i) => textArray(keys.map((key) => key[i]!)));
  const names = shape.key.map((_, i) => `p${i + 1}`).join(', ');
  const isKey = keysEqual(shape, inMeta('v'), (column, i) => typed(column, `k.p${i + 1}`));
  return `(SELECT m.* FROM ${shape.meta} AS m WHERE m.ctid = ANY (ARRAY(
    SELECT v.ctid FROM unnest(${texts.join(', ')}) AS k (${names}) JOIN ${shape.meta} AS v ON ${isKey})))`;
}

/** A table as the frame before its rows names it. */
function named({ name, columns }: TableShape): Pick<Frame & { type: 'copy' }, 'table' | 'columns' | 'types'> {
  return { table: name, columns: columns.map((column) => column.name), types: columns.map(({ plain }) => plain) };
}

/** Whether a table's rows are few enough to be read as columns at first try. */
export const fitsColumns = (count: number): boolean => count <= columnarRows;
