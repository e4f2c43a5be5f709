/** A bootstrap node: its register, kept on the disk, and the answers to what nodes say (docs/discovery.md). It never dials anybody. */
import { type BootstrapAnswer, type BootstrapAsked, parseBootstrapBody, Problem, protocolVersion } from '@pgmesh/wire';
import type { Warn } from '../discovery-source';
import { introduce, sample } from './introduce';
import { type Lessee, type Member, Register, type RegisterLimits, type Registration } from './register';

/** Where the register is kept. */
export interface RegisterBook {
  read(warn: Warn): Promise<Registration[]>;
  write(members: readonly Registration[]): Promise<void>;
}

export interface BootstrapNodeOptions {
  readonly book: RegisterBook;
  /** P2P_BOOTSTRAP_LEASE, in milliseconds. */
  readonly lease: number;
  readonly warn: Warn;
  readonly limits?: RegisterLimits;
  /** Milliseconds of a clock that only goes forward. */
  readonly clock?: () => number;
  readonly random?: () => number;
}

/** How often leases that have ended are looked for, in parts of a lease. */
const sweepsInLease = 4;

export class BootstrapNode implements AsyncDisposable {
  /** What kept the register from being written, while that lasts. */
  trouble: string | null = null;
  readonly #register: Register;
  readonly #clock: () => number;
  readonly #random: () => number;
  readonly #sweeping: NodeJS.Timeout;
  /** The write under way, and the one that begins after it with all that came meanwhile. */
  #writing: Promise<void> | null = null;
  #next: Promise<void> | null = null;

  private constructor(private readonly options: BootstrapNodeOptions) {
    const { lease, limits, clock = () => performance.now(), random = Math.random } = options;
    this.#register = new Register(lease, limits);
    this.#clock = clock;
    this.#random = random;
    this.#sweeping = setInterval(() => this.#sweep(), lease / sweepsInLease);
    this.#sweeping.unref();
  }

  /** @throws what keeps the file from being read or written */
  static async open(options: BootstrapNodeOptions): Promise<BootstrapNode> {
    const kept = await options.book.read(options.warn);
    // At the start somebody looks on: a place that cannot be written is told now and not when the first node comes.
    await options.book.write(kept);
    const node = new BootstrapNode(options);
    node.#register.restore(kept, node.#clock());
    return node;
  }

  /** @param body as it came. @throws Problem `bad_request`, `other_protocol`, `invalid_peer`, `too_many` */
  async reg(body: unknown): Promise<BootstrapAnswer<'reg'>> {
    const { protocol, urls, ...asked } = parseBootstrapBody('reg', body);
    if (protocol !== protocolVersion) {
      throw new Problem(
        'other_protocol',
        `The node speaks version ${protocol} of the protocol, this one ${protocolVersion}. Install the same release on both.`,
      );
    }
    const { lease } = this.#register;
    const outcome = this.#register.reg({ ...lessee(asked), urls }, this.#clock());
    if (!outcome.ok && outcome.reason === 'full') {
      throw new Problem('too_many', outcome.message, { retry_after: Math.ceil(lease / 1000) });
    }
    if (!outcome.ok) throw new Problem('invalid_peer', outcome.message);
    if (outcome.what !== 'renewed') await this.#keep();
    return { lease_ms: lease, registered: this.#register.members(asked.room).length };
  }

  /** @throws Problem `bad_request`, `not_found` without a lease */
  async join(body: unknown): Promise<BootstrapAnswer<'join'>> {
    const { count, ...asked } = parseBootstrapBody('join', body);
    this.#register.expire(this.#clock());
    const joined = this.#register.join(lessee(asked));
    if (joined === 'unknown') {
      throw new Problem('not_found', 'This process is not registered here, or not any more. REG, then JOIN.');
    }
    if (joined === 'joined') await this.#keep();
    const members = this.#register.members(asked.room).filter((member) => member.joined);
    const undialled = members.filter(({ nodeId, urls }) => nodeId !== asked.node_id && urls.length === 0);
    return {
      neighbours: introduce(members, asked.node_id, count, this.#random).map(({ nodeId, urls }) => ({
        node_id: nodeId,
        urls: [...urls],
      })),
      undialled: sample(undialled, count, this.#random).map(({ nodeId }) => nodeId),
      joined: members.length,
    };
  }

  /** @throws Problem `bad_request` */
  async leave(body: unknown): Promise<BootstrapAnswer<'leave'>> {
    return this.#done(this.#register.leave(lessee(parseBootstrapBody('leave', body))));
  }

  /** @throws Problem `bad_request` */
  async unreg(body: unknown): Promise<BootstrapAnswer<'unreg'>> {
    return this.#done(this.#register.unreg(lessee(parseBootstrapBody('unreg', body))));
  }

  /** For people. */
  overview(): object {
    this.#register.expire(this.#clock());
    const rooms = this.#register.rooms().map((room) => {
      const members = this.#register.members(room);
      return { room, registered: members.length, joined: members.filter(({ joined }) => joined).length };
    });
    return { lease_ms: this.#register.lease, rooms };
  }

  /** For people. @throws Problem `not_found` for a room that nobody is in */
  room(name: string): object {
    const now = this.#clock();
    this.#register.expire(now);
    const members = this.#register.members(name);
    if (members.length === 0) throw new Problem('not_found', 'Nobody is registered in that room.');
    return { lease_ms: this.#register.lease, members: members.map((member) => viewOf(member, now)) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#sweeping);
    await this.#keep();
  }

  async #done(done: boolean): Promise<{ done: boolean }> {
    if (done) await this.#keep();
    return { done };
  }

  /** What has ended need not be written down at once: after a restart it would have one lease more. */
  #sweep(): void {
    if (this.#register.expire(this.#clock()) > 0 || this.trouble !== null) void this.#keep();
  }

  /** Resolves when the register as it is now has been written, or the trouble with that told. Those who come during a write share the next. */
  #keep(): Promise<void> {
    if (this.#writing === null) return (this.#writing = this.#write());
    this.#next ??= this.#writing.then(() => {
      this.#next = null;
      return (this.#writing = this.#write());
    });
    return this.#next;
  }

  /** The introductions go on when the disk is full: nodes renew, so that a register that is lost is whole again in a third of a lease. */
  async #write(): Promise<void> {
    try {
      await this.options.book.write(this.#register.all());
      this.trouble = null;
    } catch (error) {
      const { message } = error as Error;
      if (this.trouble === null) {
        this.options.warn(
          `The register cannot be written: ${message}. It is tried again by itself; until then a restart would lose it.`,
        );
      }
      this.trouble = message;
    } finally {
      if (this.#next === null) this.#writing = null;
    }
  }
}

const lessee = ({ node_id, instance, room }: BootstrapAsked<'leave'>): Lessee => ({ nodeId: node_id, instance, room });

const viewOf = ({ nodeId, urls, joined, until }: Member, now: number) => ({
  node_id: nodeId,
  urls,
  joined,
  expires_in_ms: Math.max(0, Math.round(until - now)),
});
