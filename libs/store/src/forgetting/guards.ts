import { begunAnew, type Guards, including, type Mark, parsePgSnapshot, type Snapshot } from '@pgmesh/core';
import { fromWireGuards, toWireGuards, type WireGuards } from '@pgmesh/wire';
import type { PoolClient, QueryConfig } from 'pg';
import { prepared } from '../prepared';

/** The guards of a table as they lie in p2p.tracked_table: as on the wire. */
export interface GuardRow {
  readonly id: number;
  readonly name: string;
  readonly guards: WireGuards[string];
}

/** The tables of which something has been forgotten. */
export const guardedTables: QueryConfig = prepared(
  `SELECT t.id, t.name, t.guards FROM p2p.tracked_table AS t WHERE t.guards <> '[]' ORDER BY t.id`,
  [],
);

/** By table. */
export function toGuards(rows: readonly GuardRow[]): Map<string, Guards> {
  return new Map(rows.map(({ name, guards }) => [name, fromWireGuards({ [name]: guards }, name)]));
}

export function writeGuards(tableId: number, guards: Guards): QueryConfig {
  const { table = [] } = toWireGuards({ table: guards });
  return prepared('UPDATE p2p.tracked_table SET guards = $2 WHERE id = $1', [tableId, JSON.stringify(table)]);
}

/** What our feed has come to, with what the transaction that asks has written. */
export async function presentWithOurs(client: Pick<PoolClient, 'query'>): Promise<Snapshot> {
  const { rows } = await client.query<{ present: string; xid: string }>(
    'SELECT pg_current_snapshot()::text AS present, pg_current_xact_id()::text AS xid',
  );
  return including(parsePgSnapshot(rows[0]!.present), BigInt(rows[0]!.xid));
}

/** Our own marks go on in the feed of a new incarnation, of which every reader has yet to read all that is here (see begunAnew). */
export async function guardAnew(
  client: Pick<PoolClient, 'query'>,
  former: Omit<Mark, 'snapshot'>,
  present: Omit<Mark, 'snapshot'>,
): Promise<void> {
  const { rows: tables } = await client.query<GuardRow>(guardedTables);
  if (tables.length === 0) return;
  const snapshot = await presentWithOurs(client);
  const guards = toGuards(tables);
  for (const { id, name } of tables)
    await client.query(writeGuards(id, begunAnew(guards.get(name)!, former, { ...present, snapshot })));
}
