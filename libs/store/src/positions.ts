import {
  advance,
  type CopyExtent,
  isNodeName,
  joinSeen,
  type Knowledge,
  learn,
  parseCursor,
  type Position,
  type Seen,
  seenOf,
} from '@pgmesh/core';
import {
  fromWirePosition,
  fromWireSeen,
  Problem,
  stepOf,
  toWirePosition,
  toWireSeen,
  type WindowFrame,
  type WireKnowledge,
  type WirePosition,
} from '@pgmesh/wire';
import type { QueryConfig } from 'pg';
import type { Queryable } from './database';

/** A row of p2p.position. */
export interface PositionRow {
  node: string;
  epoch: string;
  tables: string[];
  snapshot: string;
  complete: string;
  reached: string;
  copy: (NonNullable<WirePosition['copy']> & { extent?: CopyExtent }) | null;
  left_off: Record<string, string> | null;
  seen: StoredSeen | null;
  formerly: Record<string, string> | null;
}

/** What the node told with its last complete window of each origin's own writes (libs/core: Seen), and over which tables it holds here. */
export interface StoredSeen {
  readonly tables: readonly string[];
  readonly origins: Readonly<Record<string, string>>;
}

export const positionColumns = 'node, epoch, tables, snapshot, complete, reached, copy, left_off, seen, formerly';

export async function readPosition(db: Queryable, node: string): Promise<Position | null> {
  const { rows } = await db.query<PositionRow>({
    name: 'p2p_position',
    text: `SELECT ${positionColumns} FROM p2p.position WHERE node = $1`,
    values: [node],
  });
  return rows[0] ? toPosition(rows[0]) : null;
}

export async function readKnowledge(db: Queryable): Promise<Knowledge> {
  const { rows } = await db.query<PositionRow>(`SELECT ${positionColumns} FROM p2p.position`);
  return toKnowledge(rows);
}

export function toKnowledge(rows: readonly PositionRow[]): Knowledge {
  return Object.fromEntries(
    rows.map((row) => {
      const { epoch, tables, complete, reached } = toPosition(row);
      return [row.node, { cursor: { epoch, snapshot: complete }, tables, reached }];
    }),
  );
}

/** What of each origin's own writes is here, in all of these tables. */
export function toSeen(rows: readonly PositionRow[], shared: readonly string[]): Seen {
  const told = rows.flatMap(({ seen }) =>
    seen && shared.every((name) => seen.tables.includes(name)) ? [seen.origins] : [],
  );
  return told.reduce<Seen>(
    (seen, origins) => joinSeen(seen, fromWireSeen(origins)),
    seenOf(toKnowledge(rows.filter(({ copy }) => copy === null)), shared),
  );
}

export async function readSeen(db: Queryable, shared: readonly string[]): Promise<Seen> {
  const { rows } = await db.query<PositionRow>(`SELECT ${positionColumns} FROM p2p.position`);
  return toSeen(rows, shared);
}

/** All positions, locked for the transaction that moves them. */
export const lockPositions: QueryConfig = {
  name: 'p2p_positions_lock',
  text: `SELECT ${positionColumns} FROM p2p.position ORDER BY node FOR UPDATE`,
};

/** @param seen null leaves what is there */
export function writePosition(node: string, position: Position, seen: StoredSeen | null = null): QueryConfig {
  const { epoch, tables, snapshot, complete, reached, copy, left, formerly } = toWirePosition(position);
  const progress = copy && { ...copy, extent: position.copy!.extent };
  const json = (value: object | null | undefined) => (value ? JSON.stringify(value) : null);
  return {
    name: 'p2p_position_write',
    text: `INSERT INTO p2p.position AS p (${positionColumns}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
      ON CONFLICT (node) DO UPDATE SET epoch = excluded.epoch, tables = excluded.tables, snapshot = excluded.snapshot,
        complete = excluded.complete, reached = excluded.reached, copy = excluded.copy, left_off = excluded.left_off,
        seen = coalesce(excluded.seen, p.seen), formerly = excluded.formerly, updated_at = now()`,
    values: [node, epoch, tables, snapshot, complete, reached, json(progress), json(left), json(seen), json(formerly)],
  };
}

/** A table that is shared no more is copied anew when it is shared again: nobody has kept watch over it meanwhile. */
export async function forgetPositions(db: Queryable, shared: readonly string[]): Promise<void> {
  await db.query(`UPDATE p2p.position SET seen = NULL WHERE NOT $1::jsonb @> (seen -> 'tables')`, [
    JSON.stringify(shared),
  ]);
  await db.query(
    `UPDATE p2p.position SET tables = ARRAY(SELECT t FROM unnest(tables) AS t WHERE t = ANY ($1) ORDER BY t),
       left_off = (SELECT jsonb_object_agg(l.key, l.value) FROM jsonb_each(left_off) AS l WHERE l.key = ANY ($1)),
       formerly = (SELECT jsonb_object_agg(l.key, l.value) FROM jsonb_each(formerly) AS l WHERE l.key = ANY ($1)),
       copy = CASE WHEN $2::jsonb @> (copy -> 'tables') THEN copy END
     WHERE NOT tables <@ $1 OR NOT $2::jsonb @> coalesce(copy -> 'tables', '[]')
       OR EXISTS (SELECT FROM jsonb_object_keys(left_off) AS l WHERE l <> ALL ($1))
       OR EXISTS (SELECT FROM jsonb_object_keys(formerly) AS l WHERE l <> ALL ($1))`,
    [shared, JSON.stringify(shared)],
  );
}

/** The position after a window; null when it does not connect to where we stand. */
export function positionAfter(position: Position | null, head: WindowFrame, anew: readonly string[]): Position | null {
  return advance(position, head.epoch, stepOf(head, anew));
}

/** Under which incarnation a node talks to us just now; null when it does not. */
export type InTouch = (node: string) => string | null;

/** Feeds of which we learn without having read them: no mesh has so many nodes, and a sender might name any number. */
const mostLearned = 10_000;

/** Our positions in third feeds, moved forward by what the sender of a merged window knew, or made (invariant 9). */
export function learnFrom(
  ours: ReadonlyMap<string, Position>,
  self: string,
  sender: { readonly node: string; readonly tables: readonly string[] },
  theirs: WireKnowledge,
  inTouch: InTouch,
): ReadonlyMap<string, Position> {
  const moved = new Map<string, Position>();
  for (const [node, { cursor, tables }] of Object.entries(theirs)) {
    if (node === sender.node || node === self) continue;
    const position = ours.get(node) ?? null;
    if (position === null && (ours.size + moved.size >= mostLearned || !isNodeName(node))) continue;
    const known = parseCursor(cursor);
    if (!known) throw new Problem('bad_request', `The window's knowledge of ${node} has a cursor that cannot be read.`);
    const learned = learn(position, { cursor: known, tables }, sender.tables, inTouch(node));
    if (learned) moved.set(node, learned);
  }
  return moved;
}

/**
 * What is seen by way of a node after a window of its; null where that did not go over all that we share.
 * @param tables those that the window covered, and that we follow there: of others earlier rows may be missing
 */
export function seenAfter(
  before: StoredSeen | null,
  { kind, seen: told }: WindowFrame,
  tables: readonly string[],
  shared: readonly string[],
): StoredSeen | null {
  if (kind !== 'window' || !told || !shared.every((table) => tables.includes(table))) return null;
  const still = before && shared.every((table) => before.tables.includes(table)) ? fromWireSeen(before.origins) : {};
  return { tables: shared, origins: toWireSeen(joinSeen(still, fromWireSeen(told))) };
}

/** As on the wire; what its source told of a copy's extent lies beside, and stays with it. */
export function toPosition(row: PositionRow): Position {
  const { epoch, tables, snapshot, complete, reached, copy, left_off: left, formerly } = row;
  const ends = { ...(left && { left }), ...(formerly && { formerly }) };
  return fromWirePosition({ epoch, tables, snapshot, complete, reached, copy, ...ends });
}
