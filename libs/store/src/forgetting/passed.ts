import { type Member, parsePgSnapshot, passedByAll, type Passing, type Snapshot } from '@pgmesh/core';
import type { Pool } from 'pg';
import { memberColumns, type MemberRow, toMember } from '../member-rows';
import { readKnowledge } from '../positions';

export interface Self {
  readonly nodeId: string;
  readonly epoch: string;
}

/** Up to where all members have come in our feed. */
export interface Passed {
  readonly members: readonly Member[];
  /** For a table, by its name. */
  readonly of: (table: string) => Passing;
}

export async function readPassed(db: Pool, self: Self): Promise<Passed> {
  const { rows: now } = await db.query<{ present: string }>('SELECT pg_current_snapshot()::text AS present');
  const { rows } = await db.query<MemberRow>(`SELECT ${memberColumns} FROM p2p.member`);
  const [members, knowledge] = [rows.map(toMember), await readKnowledge(db)];
  const present = parsePgSnapshot(now[0]!.present);
  return { members, of: (table) => passedByAll(self, members, knowledge, table, present) };
}

/** SQL: whether a metadata row `m` became what it is in a transaction that the snapshot shows. */
export function isIn({ xmax, xip }: Snapshot): string {
  return `m.xid < '${xmax}'::xid8 AND m.xid <> ALL ('{${xip.join(',')}}'::xid8[])`;
}
