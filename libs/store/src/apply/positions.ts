import {
  advance,
  type CopyProgress,
  formatSnapshot,
  type Knowledge,
  learn,
  parseSnapshot,
  type Position,
  type Snapshot,
  type Step,
} from '@pgmesh/core';
import { Problem, type WindowFrame, type WireKnowledge } from '@pgmesh/wire';
import type { Queryable } from '../database';

interface PositionRow {
  node: string;
  epoch: string;
  tables: string[];
  snapshot: string;
  reached: string;
  copy: { tables: string[]; since: string; next: CopyProgress['next'] } | null;
}

const columns = 'node, epoch, tables, snapshot, reached, copy';

export async function readPosition(db: Queryable, node: string, lock = false): Promise<Position | null> {
  const { rows } = await db.query<PositionRow>({
    name: lock ? 'p2p_position_lock' : 'p2p_position',
    text: `SELECT ${columns} FROM p2p.position WHERE node = $1${lock ? ' FOR UPDATE' : ''}`,
    values: [node],
  });
  return rows[0] ? toPosition(rows[0]) : null;
}

export async function readKnowledge(db: Queryable): Promise<Knowledge> {
  const { rows } = await db.query<PositionRow>(`SELECT ${columns} FROM p2p.position`);
  return Object.fromEntries(
    rows.map((row) => {
      const { epoch, tables, snapshot, reached } = toPosition(row);
      return [row.node, { cursor: { epoch, snapshot }, tables, reached }];
    }),
  );
}

export async function writePosition(db: Queryable, node: string, position: Position): Promise<void> {
  const { epoch, tables, snapshot, reached, copy } = position;
  const progress = copy && { tables: copy.tables, since: formatSnapshot(copy.since), next: copy.next };
  await db.query({
    name: 'p2p_position_write',
    text: `INSERT INTO p2p.position AS p (${columns}) VALUES ($1, $2, $3, $4, $5, $6)
      ON CONFLICT (node) DO UPDATE SET epoch = excluded.epoch, tables = excluded.tables, snapshot = excluded.snapshot,
        reached = excluded.reached, copy = excluded.copy, updated_at = now()`,
    values: [
      node,
      epoch,
      tables,
      formatSnapshot(snapshot),
      formatSnapshot(reached),
      progress && JSON.stringify(progress),
    ],
  });
}

/** The position after a window; null when it does not connect to where we stand. */
export function positionAfter(position: Position | null, head: WindowFrame): Position | null {
  return advance(position, head.epoch, stepOf(head));
}

/** Moves our positions in third feeds forward by what the sender of a merged window knew (invariant 9). */
export async function learnFrom(db: Queryable, ours: string, head: WindowFrame, theirs: WireKnowledge): Promise<void> {
  for (const [node, { cursor, tables }] of Object.entries(theirs)) {
    if (node === ours) continue;
    const position = await readPosition(db, node, true);
    if (!position || position.copy) continue;
    const slash = cursor.indexOf('/');
    const snapshot = parseSnapshot(cursor.slice(slash + 1));
    if (!snapshot)
      throw new Problem('bad_request', `The window's knowledge of ${node} has a cursor that cannot be read.`);
    const known = { cursor: { epoch: position.epoch, snapshot: position.snapshot }, tables: position.tables };
    const moved = learn(known, { cursor: { epoch: cursor.slice(0, slash), snapshot }, tables }, head.tables);
    if (moved) await writePosition(db, node, { ...position, snapshot: moved.cursor.snapshot });
  }
}

function stepOf(head: WindowFrame): Step {
  const to = snapshotOf(head.to);
  return head.kind === 'window'
    ? { kind: 'window', tables: head.tables, from: snapshotOf(head.from), to }
    : { kind: 'copy', tables: head.tables, at: head.at, to, next: head.next };
}

function snapshotOf(text: string): Snapshot {
  const snapshot = parseSnapshot(text);
  if (!snapshot) throw new Problem('bad_request', 'The window has a snapshot that cannot be read.');
  return snapshot;
}

function toPosition({ epoch, tables, snapshot, reached, copy }: PositionRow): Position {
  return {
    epoch,
    tables,
    snapshot: parseSnapshot(snapshot)!,
    reached: parseSnapshot(reached)!,
    copy: copy && { tables: copy.tables, since: parseSnapshot(copy.since)!, next: copy.next },
  };
}
