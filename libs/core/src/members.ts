import { textDigest } from './digest';
import { isLaterIncarnation } from './incarnation';
import { type Knowledge, knows } from './knowledge';
import { formatCursor } from './cursor';
import { formatSnapshot, type Snapshot } from './snapshot';

/**
 * Who has ever belonged to the mesh. Nodes tell each other what they have of this and join it: in any order, and as often as it comes,
 * all end with the same. Times are milliseconds since 1970; nothing that has to be right hangs on them.
 */
export interface Member {
  readonly nodeId: string;
  /** The incarnation of its database. A later one takes the place of all that is known of the earlier. */
  readonly epoch: string;
  /** The tables that it shares. */
  readonly tables: readonly string[];
  readonly firstSeen: number;
  readonly lastSeen: number;
  /** What it said last of how far it has come; null before its first claim. */
  readonly claim: Claim | null;
  /** Since when, and said by which node, nobody has to wait for it. */
  readonly evicted: Eviction | null;
  /** Counts its evictions and returns. */
  readonly term: number;
}

/**
 * A node's statement, as of one snapshot of its database: it held, or held what covers, every version that was in its own feed up to
 * `snapshot`, and in others' up to `known`. It may be made later than `snapshot` where no row has changed since.
 */
export interface Claim {
  /** Counted by its maker; the higher one replaces the lower. */
  readonly number: number;
  /** In the maker's own feed. */
  readonly snapshot: Snapshot;
  readonly known: Knowledge;
  /** Those of its tables in which the last write does not settle every conflict, so that what has lost is kept; null where it does not say. */
  readonly keeps: readonly string[] | null;
}

export interface Eviction {
  readonly at: number;
  readonly by: string;
}

/** A member without what it claims to know, which is much: enough to see who knows later things of it. */
export type MemberHead = Omit<Member, 'claim'> & { readonly claim: Pick<Claim, 'number' | 'snapshot'> | null };

/** All that two nodes know of a third, by the later of its incarnations, its claims and its terms. */
export function joinMembers(a: Member, b: Member): Member {
  const seen = { firstSeen: Math.min(a.firstSeen, b.firstSeen), lastSeen: Math.max(a.lastSeen, b.lastSeen) };
  if (a.epoch !== b.epoch) return { ...(isLaterIncarnation(a.epoch, b.epoch) ? a : b), ...seen };
  const said = laterSaid(a, b);
  const told = isLaterTold(a, b) ? a : b;
  return { ...seen, nodeId: a.nodeId, epoch: a.epoch, ...said, evicted: told.evicted, term: told.term };
}

/** As long as it has claimed nothing, it may share whatever anybody has heard of. */
function laterSaid(a: Member, b: Member): Pick<Member, 'claim' | 'tables'> {
  const [one, other] = [a.claim?.number ?? 0, b.claim?.number ?? 0];
  if (one !== other) return one > other ? of(a) : of(b);
  if (a.claim === null || b.claim === null) {
    return { claim: a.claim ?? b.claim, tables: [...new Set([...a.tables, ...b.tables])].sort() };
  }
  // A database that was set back, unnoticed, gives a number twice.
  return textOf(a) >= textOf(b) ? of(a) : of(b);
}

const of = ({ claim, tables }: Member): Pick<Member, 'claim' | 'tables'> => ({ claim, tables });

/** Of one term, that it is there counts for more than that somebody gave it up; of two evictions the earlier stands. */
function isLaterTold(a: Member, b: Member): boolean {
  if (a.term !== b.term) return a.term > b.term;
  if (a.evicted === null || b.evicted === null) return a.evicted === null;
  return a.evicted.at !== b.evicted.at ? a.evicted.at < b.evicted.at : a.evicted.by <= b.evicted.by;
}

function textOf({ claim, tables }: Member): string {
  const known = Object.entries(claim?.known ?? {}).map(([node, { cursor, tables: of }]) => [
    node,
    formatCursor(cursor),
    of,
  ]);
  return JSON.stringify([claim && formatSnapshot(claim.snapshot), known.sort(), tables, claim?.keeps ?? null]);
}

/** Nobody waits for it any longer. */
export function evict<M extends MemberHead>(member: M, at: number, by: string): M {
  return member.evicted ? member : { ...member, evicted: { at, by }, term: member.term + 1 };
}

/** It was heard of again. */
export function takeBack<M extends MemberHead>(member: M): M {
  return member.evicted ? { ...member, evicted: null, term: member.term + 1 } : member;
}

/** By node: what another needs to hear of a member to see who has the later; equal where both have the same. */
export type Marks = Readonly<Record<string, string>>;

/** `incarnation/claim/digest of the rest`. */
export function markOf({ epoch, tables, firstSeen, lastSeen, claim, evicted, term }: MemberHead): string {
  const number = claim?.number ?? 0;
  const rest = [firstSeen, lastSeen, term, evicted?.at ?? 0, evicted?.by ?? '', number === 0 ? tables : []];
  return `${epoch}/${number}/${textDigest(JSON.stringify(rest))}`;
}

/** One text for a whole list, whatever its order. */
export function digestOf(members: readonly MemberHead[]): string {
  return textDigest(JSON.stringify(members.map((member) => [member.nodeId, markOf(member)] as const).sort()));
}

/** What another node lacks of ours, by its marks: `whole`, or all but the claim, which it has. */
export function lackedOf(ours: readonly MemberHead[], theirs: Marks): { nodeId: string; whole: boolean }[] {
  return ours.flatMap((member) => {
    const { nodeId, epoch } = member;
    const mark = Object.hasOwn(theirs, nodeId) ? theirs[nodeId]! : null;
    if (mark === markOf(member)) return [];
    const [theirEpoch = '', number = '0'] = mark?.split('/') ?? [];
    if (epoch !== theirEpoch) return isLaterIncarnation(epoch, theirEpoch) ? [{ nodeId, whole: true }] : [];
    // Where they have the later claim they tell us; what is left then is for the next time.
    const ahead = (member.claim?.number ?? 0) - Number(number);
    return ahead < 0 ? [] : [{ nodeId, whole: ahead > 0 }];
  });
}

/**
 * Whether a node has come past what others wait for since its last claim: a snapshot at which another made one. What lies between
 * two of those nobody waits for, so that a mesh at rest falls silent although snapshots go on by themselves.
 */
export function passesMore(before: Knowledge, now: Knowledge, others: readonly MemberHead[]): boolean {
  return others.some(({ nodeId, epoch, claim }) => {
    const known = Object.hasOwn(now, nodeId) ? now[nodeId]! : null;
    if (known === null || claim === null) return false;
    const mark = { cursor: { epoch, snapshot: claim.snapshot }, tables: known.tables };
    const knownThen = Object.hasOwn(before, nodeId) ? before[nodeId] : undefined;
    return knows(known, mark) && !knows(knownThen, mark);
  });
}
