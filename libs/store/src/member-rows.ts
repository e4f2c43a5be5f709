import { type Claim, formatSnapshot, type Member, type MemberHead, parseSnapshot } from '@pgmesh/core';
import { fromWireKnowledge, toWireKnowledge, type WireKnowledge } from '@pgmesh/wire';
import type { QueryConfig } from 'pg';
import { prepared } from './prepared';

/** A row of p2p.member; without what it claims to know, a head's. Times in milliseconds since 1970. */
export interface MemberRow {
  node_id: string;
  epoch: string;
  tables: string[];
  first_seen: number;
  last_seen: number;
  claim: number | null;
  snapshot: string | null;
  evicted_at: number | null;
  evicted_by: string | null;
  term: number;
  known?: WireKnowledge | null;
  keeps?: string[] | null;
}

const ms = (column: string): string => `(extract(epoch FROM ${column}) * 1000)::int8 AS ${column}`;

/** Of a row of p2p.member. */
export const headColumns = `node_id, epoch, tables, ${ms('first_seen')}, ${ms('last_seen')}, claim, snapshot, ${ms('evicted_at')}, evicted_by, term`;
export const memberColumns = `${headColumns}, known, keeps`;

export function toHead(row: MemberRow): MemberHead {
  const { claim, snapshot, evicted_at: at, evicted_by: by } = row;
  return {
    nodeId: row.node_id,
    epoch: row.epoch,
    tables: row.tables,
    firstSeen: row.first_seen,
    lastSeen: row.last_seen,
    claim: claim === null || snapshot === null ? null : { number: claim, snapshot: parseSnapshot(snapshot)! },
    evicted: at === null || by === null ? null : { at, by },
    term: row.term,
  };
}

export function toMember(row: MemberRow): Member {
  const head = toHead(row);
  const claim: Claim | null = head.claim && {
    ...head.claim,
    known: fromWireKnowledge(row.known ?? {}),
    keeps: row.keeps ?? null,
  };
  return { ...head, claim };
}

/** Puts a member in the place of what was known of it. */
export function writeMember({ claim, evicted, ...member }: Member): QueryConfig {
  const time = (place: number): string => `to_timestamp($${place}::float8 / 1000)`;
  return prepared(
    `INSERT INTO p2p.member (node_id, epoch, tables, first_seen, last_seen, claim, snapshot, known, evicted_at, evicted_by, term, keeps)
     VALUES ($1, $2, $3, ${time(4)}, ${time(5)}, $6, $7, $8, ${time(9)}, $10, $11, $12)
     ON CONFLICT (node_id) DO UPDATE SET epoch = excluded.epoch, tables = excluded.tables, first_seen = excluded.first_seen,
       last_seen = excluded.last_seen, claim = excluded.claim, snapshot = excluded.snapshot, known = excluded.known,
       evicted_at = excluded.evicted_at, evicted_by = excluded.evicted_by, term = excluded.term,
       keeps = excluded.keeps`,
    [
      member.nodeId,
      member.epoch,
      member.tables,
      member.firstSeen,
      member.lastSeen,
      claim && claim.number,
      claim && formatSnapshot(claim.snapshot),
      claim && JSON.stringify(toWireKnowledge(claim.known)),
      evicted && evicted.at,
      evicted && evicted.by,
      member.term,
      claim && claim.keeps,
    ],
  );
}
