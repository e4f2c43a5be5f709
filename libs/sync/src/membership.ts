import {
  digestOf,
  evict,
  isLaterIncarnation,
  lackedOf,
  type Marks,
  markOf,
  type Member,
  type MemberHead,
  takeBack,
} from '@pgmesh/core';
import { fromWireMember, type Gossip, type Hello, Problem, toWireMember, type WireMember } from '@pgmesh/wire';
import type { MeshEvents } from './events';
import type { Journal } from './journal';
import type { MemberChange, Store } from './ports';

export interface MembershipParts {
  readonly store: Store;
  readonly events: MeshEvents;
  readonly journal: Journal;
  readonly clock: () => number;
  /** P2P_SYNC_INTERVAL, in milliseconds. */
  readonly interval: number;
  /** How long a member may be silent before nobody waits for it, in milliseconds; null: for ever. P2P_MEMBER_CAP. */
  readonly cap: number | null;
  /** Whether a node talks to us just now. */
  readonly isLinked: (nodeId: string) => boolean;
  readonly warn: (message: string) => void;
}

/** When a member was seen is told to others so coarsely, in intervals, that a mesh at rest has next to nothing to tell. */
const seenEvery = 120;
/** Looks in a row at which a member has to be silent for too long: who slept has to hear the news first. */
const looks = 3;
/** A node claims once in so many intervals as there are tens of members: what is told of claims grows with their square. */
const claimants = 10;
/** Of members in one message, in bytes; the rest comes with the next greeting. */
const longestGossip = 256 * 1024;

/** The list of members: what is heard and told of it, and our own claims. */
export class Membership {
  #timer: NodeJS.Timeout | null = null;
  #working: Promise<void> = Promise.resolve();
  #passes = 0;
  #lastPass: number | null = null;
  /** A claim is due whatever has changed: the first since the start, or others have one under our name that we did not make. */
  #isDue = true;
  /** By member, the looks in a row at which it was silent for too long. */
  #silent = new Map<string, number>();
  /** Incarnations and claims of ours that others have heard of and we never made. */
  readonly #foreign = new Set<string>();

  constructor(private readonly parts: MembershipParts) {}

  start(): void {
    const pass = (): void => {
      this.#working = this.#working.then(() => this.#reporting());
    };
    this.#timer = setInterval(pass, this.parts.interval).unref();
    pass();
  }

  async stop(): Promise<void> {
    if (this.#timer) clearInterval(this.#timer);
    await this.#working;
  }

  /** Whether a node talks to us just now. */
  isLinked(nodeId: string): boolean {
    return this.parts.isLinked(nodeId);
  }

  heads(): Promise<readonly MemberHead[]> {
    return this.parts.store.members.heads();
  }

  /** What a greeting tells of the list. */
  async digest(): Promise<string> {
    return digestOf(await this.heads());
  }

  /** A node has greeted us, or answered our greeting: it is a member, and there. */
  async met({ node_id: nodeId, epoch, tables }: Pick<Hello, 'node_id' | 'epoch' | 'tables'>): Promise<void> {
    const { members } = this.parts.store;
    const known = (await this.heads()).find((head) => head.nodeId === nodeId);
    if (known?.epoch === epoch && known.evicted) this.#tell([await members.change(nodeId, takeBack)]);
    const now = this.#present();
    const isNews = known === undefined || isLaterIncarnation(epoch, known.epoch) || known.lastSeen < now;
    if (!isNews) return;
    const seen = known === undefined ? this.parts.clock() : now;
    this.#tell(await members.join([newcomer(nodeId, epoch, tables, seen)]));
  }

  /** Our marks, for a node whose list differs from ours. */
  async question(): Promise<Gossip> {
    return { marks: marksOf(await this.heads()), members: [] };
  }

  /** What another tells, and asks for: takes the one and answers the other, with our marks beside it where it told of its own. */
  async answer({ marks, members }: Gossip): Promise<Gossip> {
    await this.#take(members);
    if (marks === undefined) return { members: [] };
    return { marks: marksOf(await this.heads()), members: await this.#lacked(marks) };
  }

  /** The answer to our question; returns what the other lacks, null when that is nothing. */
  async answered({ marks, members }: Gossip): Promise<Gossip | null> {
    await this.#take(members);
    const lacked = marks === undefined ? [] : await this.#lacked(marks);
    return lacked.length === 0 ? null : { members: lacked };
  }

  /** @throws Problem `not_found`, `member_present` */
  async evict(nodeId: string): Promise<void> {
    const { store, isLinked, clock } = this.parts;
    const self = store.identity.nodeId;
    if (nodeId === self)
      throw new Problem(
        'member_present',
        `${nodeId} is this node: it is there. Evict it on another, once it has been stopped.`,
      );
    const known = (await this.heads()).find((head) => head.nodeId === nodeId);
    if (!known) throw new Problem('not_found', 'There is no such member. GET /p2p/members lists those that there are.');
    if (isLinked(nodeId))
      throw new Problem(
        'member_present',
        `${nodeId} talks to this node: it would be a member again at once. Stop it first.`,
      );
    this.#tell([await store.members.change(nodeId, (member) => evict(member, clock(), self))]);
  }

  /** The present time, as coarsely as others are told it. */
  #present(): number {
    const { clock, interval, cap } = this.parts;
    const every = Math.max(1, Math.min(seenEvery * interval, (cap ?? Infinity) / 4));
    return Math.floor(clock() / every) * every;
  }

  async #take(told: readonly WireMember[]): Promise<void> {
    if (told.length === 0) return;
    const { store } = this.parts;
    const members = told.map(fromWireMember);
    const own = members.find(({ nodeId }) => nodeId === store.identity.nodeId);
    if (own) await this.#judgeOwn(own);
    this.#tell(await store.members.join(members));
  }

  /** Somebody writes under our name, or did, who is not us: a copy of our database, or our own one before it was set back (traps 9 to 11). */
  async #judgeOwn(told: Member): Promise<void> {
    const { nodeId, epoch } = this.parts.store.identity;
    const known = (await this.heads()).find((head) => head.nodeId === nodeId);
    const isOther = isLaterIncarnation(told.epoch, epoch);
    const isAhead = told.epoch === epoch && (told.claim?.number ?? 0) > (known?.claim?.number ?? 0);
    if (isAhead) this.#isDue = true;
    const name = isOther ? told.epoch : String(told.claim?.number);
    if (!(isOther || isAhead) || this.#foreign.has(name)) return;
    this.#foreign.add(name);
    const what = isOther
      ? `The mesh knows a later incarnation of "${nodeId}" (${told.epoch}) than this one (${epoch}): a copy of its database has been started.`
      : `The mesh has heard more of "${nodeId}" than this database knows: it was set back, or is a copy.`;
    const remedy = 'Stop the one that is not to stay, and give the other a name of its own: pgmesh new-incarnation.';
    await this.parts.journal.failed(nodeId, 'received', 'cloned_node', `${what} ${remedy}`);
  }

  async #lacked(marks: Marks): Promise<WireMember[]> {
    const { members } = this.parts.store;
    const lacked = lackedOf(await members.heads(), marks);
    const whole = new Map(lacked.map(({ nodeId, whole: all }) => [nodeId, all]));
    const told: WireMember[] = [];
    let size = 0;
    // Claims are large: no more of them are read than can be told.
    for (const { nodeId } of lacked) {
      const [member] = await members.list([nodeId]);
      if (!member) continue;
      const wire = toWireMember(whole.get(nodeId) ? member : { ...member, claim: null });
      size += JSON.stringify(wire).length;
      if (size > longestGossip && told.length > 0) break;
      told.push(wire);
    }
    return told;
  }

  #tell(changes: readonly (MemberChange | null)[]): void {
    const { events, store } = this.parts;
    for (const change of changes) {
      if (change === null) continue;
      const { before, after } = change;
      const { nodeId: member, epoch, evicted, lastSeen } = after;
      if (member === store.identity.nodeId) this.#standUp(after);
      else if (before === null) events.emit({ type: 'member_joined', member, epoch });
      if (evicted && !before?.evicted) {
        events.emit({ type: 'member_evicted', member, by: evicted.by, last_seen: new Date(lastSeen).toISOString() });
      } else if (!evicted && before?.evicted) events.emit({ type: 'member_returned', member });
    }
  }

  /** Who was evicted and hears of it is there. */
  #standUp({ nodeId, epoch, evicted }: MemberHead): void {
    if (!evicted || epoch !== this.parts.store.identity.epoch) return;
    this.#working = this.#working.then(async () => {
      const change = await this.parts.store.members
        .change(nodeId, takeBack)
        .catch((error: unknown) => this.#warn(error));
      if (change) this.#tell([change]);
    });
  }

  async #reporting(): Promise<void> {
    try {
      await this.#pass();
    } catch (error) {
      this.#warn(error);
    }
  }

  /** A database that is away is told elsewhere. */
  #warn(error: unknown): void {
    if (error instanceof Problem && error.code === 'unavailable') return;
    this.parts.warn(`The members of the mesh could not be looked after: ${String(error)}. It is tried again.`);
  }

  async #pass(): Promise<void> {
    const { store, clock, interval } = this.parts;
    const heads = await this.heads();
    const own = heads.find(({ nodeId }) => nodeId === store.identity.nodeId);
    if (this.#isDue || this.#passes++ % Math.ceil(heads.length / claimants) === 0) {
      this.#tell([await store.members.claim(clock(), this.#isDue)]);
      this.#isDue = false;
    }
    if (own && own.lastSeen < this.#present()) await this.met({ node_id: own.nodeId, ...store.identity, tables: [] });
    const now = clock();
    if (this.#lastPass !== null && Math.abs(now - this.#lastPass) > looks * interval) this.#silent.clear();
    this.#lastPass = now;
    await this.#evictSilent(heads, now);
  }

  async #evictSilent(heads: readonly MemberHead[], now: number): Promise<void> {
    const { cap, isLinked, store } = this.parts;
    if (cap === null) return;
    const self = store.identity.nodeId;
    const silent = heads.filter(
      ({ nodeId, evicted, lastSeen }) => nodeId !== self && !evicted && now - lastSeen > cap && !isLinked(nodeId),
    );
    this.#silent = new Map(silent.map(({ nodeId }) => [nodeId, (this.#silent.get(nodeId) ?? 0) + 1]));
    for (const [nodeId, times] of this.#silent) {
      if (times < looks) continue;
      this.#tell([
        await store.members.change(nodeId, (member) =>
          now - member.lastSeen > cap ? evict(member, now, self) : member,
        ),
      ]);
    }
  }
}

function newcomer(nodeId: string, epoch: string, tables: readonly string[], seen: number): Member {
  const sorted = [...tables].sort();
  return { nodeId, epoch, tables: sorted, firstSeen: seen, lastSeen: seen, claim: null, evicted: null, term: 0 };
}

function marksOf(heads: readonly MemberHead[]): Marks {
  return Object.fromEntries(heads.map((head) => [head.nodeId, markOf(head)]));
}
