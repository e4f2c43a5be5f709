import type { Member } from '@pgmesh/core';
import type { MemberLag } from '@pgmesh/store';
import type { Mesh } from '@pgmesh/sync';
import type { NodeStore } from './ports';

/** A member of the mesh as people see it. Times are ISO 8601. */
export interface MemberView {
  readonly node_id: string;
  readonly epoch: string;
  /** `self`; `linked`: it talks to this node; `known`: others do, or did; `evicted`: nobody waits for it. */
  readonly state: 'self' | 'linked' | 'known' | 'evicted';
  readonly tables: readonly string[];
  readonly first_seen: string;
  /** Told from node to node, within an hour or so. */
  readonly last_seen: string;
  /** How often it has said how far it has come; null when it never did. */
  readonly claim: number | null;
  /** What of this node's rows it had not said to have, at its last claim; null for the node itself. */
  readonly lag: { readonly rows: number; readonly more: boolean; readonly since: string | null } | null;
  /** Since when it keeps this node from forgetting what was deleted; null where it does not. */
  readonly holds_up_since: string | null;
  readonly evicted_at: string | null;
  readonly evicted_by: string | null;
}

/** How many members there are, by state; this node is not counted. */
export interface MemberCounts {
  readonly linked: number;
  readonly known: number;
  readonly evicted: number;
}

/** Who belongs to the mesh, and how far each has come in this node's feed. */
export async function viewMembers(store: NodeStore, mesh: Mesh): Promise<MemberView[]> {
  const views: MemberView[] = [];
  for (const member of await store.members.list()) {
    const isSelf = member.nodeId === store.identity.nodeId;
    views.push(viewOf(member, stateOf(store, mesh, member), isSelf ? null : await store.members.lag(member)));
  }
  return views;
}

export async function countMembers(store: NodeStore, mesh: Mesh): Promise<MemberCounts> {
  const states = (await store.members.heads()).map((head) => stateOf(store, mesh, head));
  const count = (state: MemberView['state']): number => states.filter((one) => one === state).length;
  return { linked: count('linked'), known: count('known'), evicted: count('evicted') };
}

function stateOf(
  store: NodeStore,
  mesh: Mesh,
  { nodeId, evicted }: Pick<Member, 'nodeId' | 'evicted'>,
): MemberView['state'] {
  if (nodeId === store.identity.nodeId) return 'self';
  if (evicted) return 'evicted';
  return mesh.membership.isLinked(nodeId) ? 'linked' : 'known';
}

function viewOf(member: Member, state: MemberView['state'], lag: MemberLag | null): MemberView {
  const { evicted } = member;
  const iso = (time: number | Date | null | undefined): string | null =>
    time === null || time === undefined ? null : new Date(time).toISOString();
  return {
    node_id: member.nodeId,
    epoch: member.epoch,
    state,
    tables: member.tables,
    first_seen: new Date(member.firstSeen).toISOString(),
    last_seen: new Date(state === 'linked' || state === 'self' ? Date.now() : member.lastSeen).toISOString(),
    claim: member.claim?.number ?? null,
    lag: lag && { rows: lag.rows, more: lag.more, since: iso(lag.since) },
    holds_up_since: state === 'evicted' ? null : iso(lag?.holdsUpSince),
    evicted_at: iso(evicted?.at),
    evicted_by: evicted?.by ?? null,
  };
}
