import { advance, beginning, feedName, joinSeen, type Position, type Seen, type Snapshot, shows } from '@pgmesh/core';
import { LinkChoice } from '../../../libs/sync/src/link-choice';
import type { KnownPeer } from '../../../libs/sync/src/peers';
import { MeshLink, type Push, type PushResult } from './mesh-link';
import type { World } from './world';

const tables = ['items'];
const epoch = 'e';

/** A change as it lies in a node's feed. */
export interface Entry {
  readonly change: number;
  readonly origin: string;
  /** The origin's transaction. */
  readonly written: bigint;
  readonly via: string | null;
  readonly xid: bigint;
  /** Over how many links it came. */
  readonly hops: number;
}

/** A node of the simulated mesh: the core's positions and knowledge, and the choice of links, over a feed that is a list. */
export class MeshSimulationNode {
  up = true;
  readonly feed: Entry[] = [];
  readonly links = new Map<string, MeshLink>();
  readonly #has = new Set<number>();
  readonly #positions = new Map<string, Position>();
  readonly #choice: LinkChoice;
  readonly #byId: ReadonlyMap<string, KnownPeer>;
  #seen: Seen = {};
  #nextXid = 1n;

  constructor(
    readonly id: string,
    private readonly world: World,
    private readonly peers: readonly KnownPeer[],
    byId: ReadonlyMap<string, KnownPeer>,
  ) {
    this.#byId = byId;
    this.#choice = new LinkChoice(id, world.bound, 10 * world.interval, () => world.time.now);
  }

  get origin(): string {
    return feedName(this.id, epoch);
  }

  get present(): Snapshot {
    return { xmax: this.#nextXid, xip: [] };
  }

  /** What of each origin's own writes is here. */
  get seen(): Seen {
    // Of those that never write there is nothing to tell but bytes, which are not counted here.
    const writers = [...this.#positions].filter(([node]) => this.world.writes(node));
    const read = writers.map(([node, { complete }]): [string, Snapshot] => [feedName(node, epoch), complete]);
    return joinSeen(this.#seen, Object.fromEntries(read));
  }

  get live(): string[] {
    return [...this.links.values()].flatMap(({ isLive, to }) => (isLive ? [to] : []));
  }

  has(change: number): boolean {
    return this.#has.has(change);
  }

  positionOf(reader: MeshSimulationNode): Position {
    const begun = { epoch, tables, snapshot: beginning, complete: beginning, reached: beginning, copy: null };
    return reader.#positions.get(this.id) ?? begun;
  }

  write(change: number): void {
    const xid = this.#nextXid++;
    this.feed.push({ change, origin: this.origin, written: xid, via: null, xid, hops: 0 });
    this.#has.add(change);
    this.#wake();
  }

  /** Merges a window of another's feed; null when it does not connect. */
  receive(from: string, { rows, start, end, partial, seen }: Push): PushResult | null {
    const step = { kind: 'window', tables, from: start, to: end, partial } as const;
    const position = advance(this.world.node(from).positionOf(this), epoch, step);
    if (position === null) return null;
    const xid = this.#nextXid++;
    const repeated = new Set<string>();
    for (const row of rows) {
      if (this.has(row.change)) {
        repeated.add(row.origin);
        continue;
      }
      this.#has.add(row.change);
      this.feed.push({ ...row, via: from, xid, hops: row.hops + 1 });
      this.world.arrived(this, row.change, row.hops + 1);
    }
    this.#positions.set(from, position);
    this.#seen = joinSeen(this.#seen, seen);
    this.#wake();
    return { position, seen: this.seen, repeated: [...repeated] };
  }

  /** Whether a reader that has seen so much has it. */
  static has(seen: Seen, { origin, written }: Entry): boolean {
    const snapshot = seen[origin];
    return snapshot !== undefined && shows(snapshot, written);
  }

  follow(): void {
    const chosen = new Set([...this.#choice.of(this.peers).keys()].map(({ id }) => id));
    for (const [id, link] of this.links) {
      if (chosen.has(id)) continue;
      link.end();
      this.links.delete(id);
    }
    for (const id of chosen) {
      if (this.links.has(id)) continue;
      const link = new MeshLink(this, id, this.world);
      this.links.set(id, link);
      link.greet();
    }
  }

  /** Nothing answers there any more. */
  lost(id: string): void {
    this.#choice.failed(this.#byId.get(id)!);
    this.follow();
  }

  /** It answered, or was heard of. */
  heard(id: string): void {
    if (this.#choice.heard(this.#byId.get(id)!)) this.follow();
    const link = this.links.get(id);
    if (link && !link.isLive) link.greet();
  }

  fail(): void {
    this.up = false;
    for (const link of this.links.values()) link.end();
    this.links.clear();
  }

  comeBack(): void {
    this.up = true;
    this.follow();
  }

  #wake(): void {
    for (const link of this.links.values()) link.wake();
  }
}
