import {
  beginning,
  type Claim,
  feedName,
  joinMembers,
  type Knowledge,
  type Member,
  type MemberHead,
  passesMore,
  type Rules,
  type Snapshot,
} from '@pgmesh/core';
import type { Pool, PoolClient } from 'pg';
import { inTransaction, rethrowAway } from './database';
import { durably, flushed } from './feed/durable';
import { nothingLeftOut } from './feed/left-out';
import { versionsSince } from './feed/window-query';
import { beginWindow, probe } from './feed/window-reader';
import { isSettled } from './forgetting/let-go';
import { settles } from './forgetting/passed';
import { headColumns, memberColumns, type MemberRow, toHead, toMember, writeMember } from './member-rows';
import type { Shapes } from './shapes';

/** What was known of a member before and after a change; null where it was nothing. */
export interface MemberChange {
  readonly before: Member | null;
  readonly after: Member;
}

/** What a member lacks of our feed, as far as it has claimed. */
export interface MemberLag {
  /** Counted no further than 1,000 in a table. */
  readonly rows: number;
  readonly more: boolean;
  /** When the first of them was written. */
  readonly since: Date | null;
  /** Since when it keeps a tombstone of ours, or what has lost to the last write, from being dropped; null where it does not. */
  readonly holdsUpSince: Date | null;
}

/** Rows of a table that are looked at to tell a lag. */
const counted = 1_000;

/** The register of members in p2p.member, and our own claims. */
export class PostgresMembers {
  constructor(
    private readonly pool: Pool,
    private readonly identity: { readonly nodeId: string; readonly epoch: string },
    private readonly shapes: Shapes,
    private readonly rules: () => Rules,
  ) {}

  async heads(): Promise<MemberHead[]> {
    const text = `SELECT ${headColumns} FROM p2p.member ORDER BY node_id`;
    const { rows } = await this.pool.query<MemberRow>(text).catch(rethrowAway);
    return rows.map(toHead);
  }

  /** @param nodeIds all members unless given */
  async list(nodeIds?: readonly string[]): Promise<Member[]> {
    const text = `SELECT ${memberColumns} FROM p2p.member WHERE $1::text[] IS NULL OR node_id = ANY ($1) ORDER BY node_id`;
    const { rows } = await this.pool.query<MemberRow>(text, [nodeIds ?? null]).catch(rethrowAway);
    return rows.map(toMember);
  }

  /** Joins what was heard of members with what is known of them. Returns what has changed. */
  join(members: readonly Member[]): Promise<MemberChange[]> {
    return this.changing(
      members.map(({ nodeId }) => nodeId),
      (known) =>
        members.map((member) => {
          const before = known.get(member.nodeId);
          return before ? joinMembers(before, member) : member;
        }),
    );
  }

  /** Changes what is known of one. Null when there is no such member, or nothing to change. */
  async change(nodeId: string, rule: (member: Member) => Member): Promise<MemberChange | null> {
    const changes = await this.changing([nodeId], (known) => [...known.values()].map(rule));
    return changes[0] ?? null;
  }

  /**
   * Says how far we have come, unless nobody would learn from it what they wait for. All of it is of one snapshot, and is on disk
   * before it is told: what a crash could take back is not claimed.
   * @param anew even so
   */
  async claim(now: number, anew: boolean): Promise<MemberChange | null> {
    const { nodeId, epoch } = this.identity;
    const [own = null] = await this.list([nodeId]);
    const tables = [...this.shapes.names].sort();
    const last = own?.epoch === epoch ? own.claim : null;
    const keeps = this.shapes.all
      .filter((shape) => !settles(this.rules(), shape))
      .map(({ name }) => name)
      .sort();
    const { snapshot, known, isChanged } = await this.present(last);
    const isSame = last !== null && String(own!.tables) === String(tables) && String(last.keeps) === String(keeps);
    if (!anew && isSame && !isChanged && !passesMore(last.known, known, await this.heads())) return null;
    const [change = null] = await this.changing([nodeId], (members) => {
      const before = members.get(nodeId);
      const number = before?.epoch === epoch ? (before.claim?.number ?? 0) : 0;
      const claim: Claim = { number: number + 1, snapshot: isChanged ? snapshot : last!.snapshot, known, keeps };
      const seen = { firstSeen: now, lastSeen: now };
      const after: Member = { nodeId, epoch, tables, ...seen, claim, evicted: null, term: 0 };
      return [before ? joinMembers(before, after) : after];
    });
    return change;
  }

  /** What each of these members lacks of our feed; those that have claimed nothing about it lack everything. */
  async lag({ nodeId, epoch, tables, claim }: Member): Promise<MemberLag> {
    const known = claim && Object.hasOwn(claim.known, this.identity.nodeId) ? claim.known[this.identity.nodeId]! : null;
    const isOurs = known?.cursor.epoch === this.identity.epoch;
    const from = (table: string): Snapshot =>
      isOurs && known.tables.includes(table) ? known.cursor.snapshot : beginning;
    const parts = this.shapes.all
      .filter(({ name }) => tables.includes(name))
      .map(
        (shape) =>
          `(SELECT m.deleted${settles(this.rules(), shape) ? ` OR ${isSettled}` : ''} AS goes, m.stamp, m.via
            FROM ${versionsSince(shape, from(shape.name))} AS m LIMIT ${counted})`,
      );
    if (parts.length === 0) return { rows: 0, more: false, since: null, holdsUpSince: null };
    const lacked = `x.via IS DISTINCT FROM $1`;
    const { rows } = await this.pool
      .query<{ rows: number; most: number; since: number | null; held_up: number | null }>(
        `SELECT count(*) FILTER (WHERE ${lacked}) AS rows, coalesce(max(x.nth), 0) AS most, min(x.stamp) FILTER (WHERE ${lacked}) AS since,
           min(x.stamp) FILTER (WHERE x.goes) AS held_up
         FROM (${parts.map((part) => `SELECT p.*, row_number() OVER () AS nth FROM ${part} AS p`).join(' UNION ALL ')}) AS x`,
        [feedName(nodeId, epoch)],
      )
      .catch(rethrowAway);
    const { rows: count, most, since, held_up: heldUp } = rows[0]!;
    const time = (stamp: number | null): Date | null => (stamp === null ? null : new Date(stamp / 1000));
    return { rows: count, more: most >= counted, since: time(since), holdsUpSince: time(heldUp) };
  }

  /** How far we have come, and whether a row of ours has changed since the last claim. */
  private async present(last: Claim | null): Promise<{ snapshot: Snapshot; known: Knowledge; isChanged: boolean }> {
    const client = await this.pool.connect().catch(rethrowAway);
    let broken: Error | undefined;
    try {
      const { snapshot, knowledge, unflushed } = await beginWindow(client, this.shapes.names);
      const isBehind = last === null || last.snapshot.xmax > snapshot.xmax;
      const isChanged = isBehind || (await this.hasNews(client, last.snapshot));
      await flushed(client, this.pool, unflushed);
      const known = Object.entries(knowledge).filter(([, { tables }]) => tables.length > 0);
      return { snapshot, known: Object.fromEntries(known), isChanged };
    } catch (error) {
      return rethrowAway(error);
    } finally {
      await client.query('ROLLBACK').catch((error: Error) => (broken = error));
      client.release(broken);
    }
  }

  private async hasNews(client: PoolClient, since: Snapshot): Promise<boolean> {
    return (await probe(client, this.shapes.all, since, nothingLeftOut, 0)).rows > 0;
  }

  private changing(
    nodeIds: readonly string[],
    rule: (known: ReadonlyMap<string, Member>) => readonly Member[],
  ): Promise<MemberChange[]> {
    return inTransaction(this.pool, 'BEGIN', async (client) => {
      await client.query(durably);
      await client.query('LOCK TABLE p2p.member IN SHARE ROW EXCLUSIVE MODE');
      const text = `SELECT ${memberColumns} FROM p2p.member WHERE node_id = ANY ($1)`;
      const { rows } = await client.query<MemberRow>(text, [nodeIds]);
      const known = new Map(rows.map((row) => [row.node_id, toMember(row)]));
      const changes: MemberChange[] = [];
      for (const after of rule(known)) {
        const before = known.get(after.nodeId) ?? null;
        const statement = writeMember(after);
        if (before && JSON.stringify(writeMember(before).values) === JSON.stringify(statement.values)) continue;
        await client.query(statement);
        known.set(after.nodeId, after);
        changes.push({ before, after });
      }
      return changes;
    });
  }
}
