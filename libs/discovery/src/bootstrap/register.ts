/**
 * Who is there, by room, for as long as their leases last: pure, with the time as an argument. Times are milliseconds of a clock that
 * only goes forward, so that nobody's lease ends because a clock was set.
 */
import { isNodeName } from '@pgmesh/core';
import { parsePeerUrl } from '../peer-url';

export interface Registration {
  readonly room: string;
  readonly nodeId: string;
  /** The process that registered; a new one with each start. */
  readonly instance: string;
  /** Normalized; empty when the node cannot be dialled. */
  readonly urls: readonly string[];
  /** Whether it is handed to others. */
  readonly joined: boolean;
}

export interface Member extends Registration {
  readonly until: number;
}

/** Whose lease something is about. */
export type Lessee = Pick<Registration, 'room' | 'nodeId' | 'instance'>;

export interface RegisterLimits {
  readonly inRoom: number;
  readonly inAll: number;
}

/** What bounds the memory: some 2 kB for each member at worst. */
export const usualLimits: RegisterLimits = { inRoom: 2_000, inAll: 10_000 };

/** `renewed`: nothing but the lease is new, and nothing has to be written down. */
export type RegOutcome =
  | { readonly ok: true; readonly what: 'new' | 'changed' | 'renewed' }
  | { readonly ok: false; readonly reason: 'name' | 'url' | 'full'; readonly message: string };

export class Register {
  readonly #rooms = new Map<string, Map<string, Member>>();
  #size = 0;

  constructor(
    readonly lease: number,
    private readonly limits: RegisterLimits = usualLimits,
  ) {}

  /** What was kept, as after a restart: nobody could renew meanwhile, so that each lease begins anew. What cannot be taken is left out. */
  restore(kept: Iterable<Registration>, now: number): void {
    for (const registration of kept) {
      if (this.reg(registration, now).ok && registration.joined) this.join(registration);
    }
  }

  /** A lease begins, or begins anew. Whoever had the name before is replaced: a node that was killed starts again. */
  reg({ room, nodeId, instance, urls: asked }: Lessee & Pick<Registration, 'urls'>, now: number): RegOutcome {
    if (!isNodeName(nodeId) || !isNodeName(room)) return refuse('name', NO_NAME);
    const urls: string[] = [];
    for (const text of asked) {
      const parsed = parsePeerUrl(text);
      if (!parsed.ok) return refuse('url', parsed.message);
      if (!urls.includes(parsed.url)) urls.push(parsed.url);
    }
    const before = this.find(room, nodeId);
    if (!before && this.#isFull(room)) this.expire(now);
    if (!before && this.#isFull(room)) {
      return refuse(
        'full',
        'The register is full. Let nodes that have gone run out of their leases, or use another bootstrap node.',
      );
    }
    const same = before?.instance === instance;
    this.#put({ room, nodeId, instance, urls, joined: same && before.joined, until: now + this.lease });
    if (!before) return { ok: true, what: 'new' };
    return { ok: true, what: same && String(before.urls) === String(urls) ? 'renewed' : 'changed' };
  }

  /** Whether something has changed; false when the lease is another's by now. */
  unreg(lessee: Lessee): boolean {
    const member = this.#of(lessee);
    if (member) this.#delete(member);
    return member !== undefined;
  }

  /** From now on it is handed to others. `unknown`: it has no lease. */
  join(lessee: Lessee): 'joined' | 'again' | 'unknown' {
    const member = this.#of(lessee);
    if (!member) return 'unknown';
    if (member.joined) return 'again';
    this.#put({ ...member, joined: true });
    return 'joined';
  }

  /** Whether something has changed. */
  leave(lessee: Lessee): boolean {
    const member = this.#of(lessee);
    if (!member?.joined) return false;
    this.#put({ ...member, joined: false });
    return true;
  }

  /** Forgets those whose lease has ended. How many they were. */
  expire(now: number): number {
    const ended = this.all().filter(({ until }) => until <= now);
    for (const member of ended) this.#delete(member);
    return ended.length;
  }

  find(room: string, nodeId: string): Member | undefined {
    return this.#rooms.get(room)?.get(nodeId);
  }

  /** By name. */
  members(room: string): readonly Member[] {
    return [...(this.#rooms.get(room)?.values() ?? [])].sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
  }

  rooms(): readonly string[] {
    return [...this.#rooms.keys()].sort();
  }

  all(): readonly Member[] {
    return [...this.#rooms.values()].flatMap((room) => [...room.values()]);
  }

  #of({ room, nodeId, instance }: Lessee): Member | undefined {
    const member = this.find(room, nodeId);
    return member?.instance === instance ? member : undefined;
  }

  #isFull(room: string): boolean {
    return this.#size >= this.limits.inAll || (this.#rooms.get(room)?.size ?? 0) >= this.limits.inRoom;
  }

  #put(member: Member): void {
    const room = this.#rooms.get(member.room) ?? new Map<string, Member>();
    if (!room.has(member.nodeId)) this.#size += 1;
    room.set(member.nodeId, member);
    this.#rooms.set(member.room, room);
  }

  #delete({ room: name, nodeId }: Member): void {
    const room = this.#rooms.get(name);
    if (!room?.delete(nodeId)) return;
    this.#size -= 1;
    if (room.size === 0) this.#rooms.delete(name);
  }
}

const NO_NAME =
  'The node_id or room is no name: letters, digits and "._-", beginning with a letter or digit, at most 63 bytes.';

const refuse = (reason: 'name' | 'url' | 'full', message: string): RegOutcome => ({ ok: false, reason, message });
