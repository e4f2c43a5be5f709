import {
  isLastWriteOnly,
  otherRules,
  parsePgSnapshot,
  passedByAll,
  type Passing,
  type Rules,
  type Snapshot,
} from '@pgmesh/core';
import type { Pool } from 'pg';
import { memberColumns, type MemberRow, toMember } from '../member-rows';
import { readKnowledge } from '../positions';
import type { TableShape } from '../table-shape';

export interface Self {
  readonly nodeId: string;
  readonly epoch: string;
}

/** What all members have come past. */
export interface Passed {
  /** Up to where in our feed, for a table by its name. */
  readonly of: (table: string) => Passing;
  /** Who may settle its conflicts otherwise: what has lost here may stand there, or be for people to decide. */
  readonly otherRules: (table: string) => readonly string[];
}

export async function readPassed(pool: Pool, self: Self): Promise<Passed> {
  const { rows: now } = await pool.query<{ present: string }>('SELECT pg_current_snapshot()::text AS present');
  const { rows } = await pool.query<MemberRow>(`SELECT ${memberColumns} FROM p2p.member`);
  const [members, knowledge] = [rows.map(toMember), await readKnowledge(pool)];
  const present = parsePgSnapshot(now[0]!.present);
  return {
    of: (table) => passedByAll(self, members, knowledge, table, present),
    otherRules: (table) => otherRules(self, members, table),
  };
}

/** Whether the last write stands in every row of a table. */
export function settles(rules: Rules, { schema, table }: Pick<TableShape, 'schema' | 'table'>): boolean {
  return isLastWriteOnly(rules, `${schema}.${table}`);
}

/** SQL: whether a metadata row `m` became what it is in a transaction that the snapshot shows. */
export function isIn({ xmax, xip }: Snapshot): string {
  return `m.xid < '${xmax}'::xid8 AND m.xid <> ALL ('{${xip.join(',')}}'::xid8[])`;
}
