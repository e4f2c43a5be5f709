import { begunAnew, formatCursor, type Guards, including, type Mark, parsePgSnapshot } from '@pgmesh/core';
import { fromWireGuards } from '@pgmesh/wire';
import type { PoolClient, QueryConfig } from 'pg';
import { prepared } from '../prepared';

/** The guards of a table as they lie in p2p.tracked_table: as on the wire. */
export interface GuardRow {
  readonly name: string;
  readonly guards: readonly (readonly { readonly node: string; readonly at: string }[])[];
}

/** The tables of which something has been forgotten. */
export const guardedTables: QueryConfig = prepared(
  `SELECT t.name, t.guards FROM p2p.tracked_table AS t WHERE t.guards <> '[]' ORDER BY t.id`,
  [],
);

/** By table. */
export function toGuards(rows: readonly GuardRow[]): Map<string, Guards> {
  return new Map(rows.map(({ name, guards }) => [name, fromWireGuards({ [name]: guards }, name)]));
}

export function writeGuards(tableId: number, guards: Guards): QueryConfig {
  const rows = guards.map((marks) =>
    marks.map(({ node, epoch, snapshot }) => ({ node, at: formatCursor({ epoch, snapshot }) })),
  );
  return prepared('UPDATE p2p.tracked_table SET guards = $2 WHERE id = $1', [tableId, JSON.stringify(rows)]);
}

/** Our own marks go on in the feed of a new incarnation, of which every reader has yet to read all that is here (see begunAnew). */
export async function guardAnew(
  client: Pick<PoolClient, 'query'>,
  former: Omit<Mark, 'snapshot'>,
  present: Omit<Mark, 'snapshot'>,
): Promise<void> {
  const { rows: tables } = await client.query<GuardRow & { id: number }>(
    `SELECT t.id, t.name, t.guards FROM p2p.tracked_table AS t WHERE t.guards <> '[]' ORDER BY t.id`,
  );
  if (tables.length === 0) return;
  const { rows } = await client.query<{ present: string; xid: string }>(
    'SELECT pg_current_snapshot()::text AS present, pg_current_xact_id()::text AS xid',
  );
  const snapshot = including(parsePgSnapshot(rows[0]!.present), BigInt(rows[0]!.xid));
  for (const table of tables) {
    const guards = toGuards([table]).get(table.name)!;
    await client.query(writeGuards(table.id, begunAnew(guards, former, { ...present, snapshot })));
  }
}
