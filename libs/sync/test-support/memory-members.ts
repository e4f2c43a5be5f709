import { joinMembers, type Knowledge, type Member, passesMore, type Snapshot } from '@pgmesh/core';
import type { MemberChange, MemberLag, Members } from '../src/ports';

/** What a node can say of itself: `snapshot` is that of its last change. */
export interface Standing {
  readonly nodeId: string;
  readonly epoch: string;
  readonly tables: readonly string[];
  readonly snapshot: Snapshot;
  readonly known: Knowledge;
}

/** The list of members in memory. */
export class MemoryMembers implements Members {
  readonly #members = new Map<string, Member>();

  constructor(private readonly standing: () => Standing) {}

  async heads(): Promise<readonly Member[]> {
    return this.list();
  }

  async list(nodeIds?: readonly string[]): Promise<readonly Member[]> {
    return [...this.#members.values()].filter(({ nodeId }) => nodeIds?.includes(nodeId) ?? true);
  }

  async join(members: readonly Member[]): Promise<readonly MemberChange[]> {
    return members.flatMap((member) => {
      const before = this.#members.get(member.nodeId) ?? null;
      return this.#put(before, before ? joinMembers(before, member) : member);
    });
  }

  async change(nodeId: string, rule: (member: Member) => Member): Promise<MemberChange | null> {
    const before = this.#members.get(nodeId);
    return before ? (this.#put(before, rule(before))[0] ?? null) : null;
  }

  async claim(now: number, anew: boolean): Promise<MemberChange | null> {
    const { nodeId, epoch, tables, snapshot, known } = this.standing();
    const own = this.#members.get(nodeId);
    const last = own?.epoch === epoch ? own.claim : null;
    const isChanged = last?.snapshot.xmax !== snapshot.xmax;
    if (!anew && !isChanged && !passesMore(last.known, known, await this.heads())) return null;
    const claim = { number: (last?.number ?? 0) + 1, snapshot, known, keeps: null };
    const member = { nodeId, epoch, tables, firstSeen: now, lastSeen: now, claim, evicted: null, term: 0 };
    return (await this.join([member]))[0] ?? null;
  }

  async lag(): Promise<MemberLag> {
    return { rows: 0, more: false, since: null, holdsUpSince: null };
  }

  #put(before: Member | null, after: Member): MemberChange[] {
    this.#members.set(after.nodeId, after);
    return JSON.stringify(before, textOf) === JSON.stringify(after, textOf) ? [] : [{ before, after }];
  }
}

const textOf = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value);
