import { Broken, type Core } from '../history';
import { ForgettingNode, type Message, type Omissions, table, visible } from './node';
import type { Schedule, Step } from './schedule';

/** A write, and, by what its writer had really been told, the writes that it was made over. */
interface Written {
  readonly row: number;
  readonly index: number;
  readonly name: string;
  readonly live: boolean;
  readonly stamp: number;
  readonly origin: string;
  readonly seen: bigint;
}

/** What was done in a run: whether it was about anything. */
export interface Tally {
  collected: number;
  copies: number;
  letGo: number;
}

/** What went wrong; null when a schedule was played and healed as it must be. */
export function simulate(core: Core, schedule: Schedule, without: Omissions = {}, tally?: Tally): string | null {
  const simulation = new Simulation(core, schedule, without);
  try {
    simulation.run();
    return null;
  } catch (error) {
    if (error instanceof Broken) return error.message;
    return `threw ${(error as Error).stack}`;
  } finally {
    for (const node of simulation.nodes) {
      if (tally) tally.collected += node.collected;
      if (tally) tally.copies += node.copies;
      if (tally) tally.letGo += node.letGo;
    }
  }
}

class Simulation {
  readonly nodes: ForgettingNode[];
  readonly #written: Written[] = [];
  readonly #skews: number[];
  readonly #sent: Message[] = [];
  #network: Message[] = [];
  #time = 100;

  constructor(
    readonly core: Core,
    readonly schedule: Schedule,
    readonly without: Omissions,
  ) {
    this.nodes = Array.from({ length: schedule.nodes }, (_, i) => new ForgettingNode(i, core, without));
    for (const asleep of schedule.asleep) this.nodes[asleep]!.awake = false;
    this.#skews = this.nodes.map(() => 0);
  }

  run(): void {
    for (const [i, step] of this.schedule.steps.entries()) this.#during(`step ${i}`, () => this.#take(step));
    this.#during('healing', () => this.#heal());
    this.#during('at rest', () => this.#mustHaveConverged());
    this.#during('after late messages', () => this.#lateMessages());
  }

  #during(when: string, act: () => void): void {
    try {
      act();
    } catch (error) {
      throw error instanceof Broken ? new Broken(`${when}: ${error.message}`) : error;
    }
  }

  #take(step: Step): void {
    this.#time++;
    const node = 'node' in step ? this.nodes[step.node]! : null;
    switch (step.do) {
      case 'write':
      case 'delete':
        return this.#write(step);
      case 'commit':
        return this.#commit(node!);
      case 'rollback':
        return node!.rollback();
      case 'collect':
        if (node!.awake) node!.collect(this.schedule.letsGo);
        return;
      case 'backup':
        return node!.backup();
      case 'restore':
        node!.restore();
        return;
      case 'sleep':
      case 'wake':
        node!.awake = step.do === 'wake';
        return;
      case 'evict':
        return node!.evict(this.nodes[step.other]!);
      case 'clock':
        this.#skews[step.node]! += step.by;
        return;
      case 'gossip': {
        const [a, b] = this.#ends(step.link);
        if (this.#reach(a, b)) a.gossip(b);
        return;
      }
      case 'cut':
        this.#sides = step.sides;
        return;
      case 'round':
        return this.#round();
      case 'forget':
        return this.#forget(node!, step.evicts);
      case 'send': {
        const [reader, source] = this.#ends(step.link);
        if (!this.#reach(reader, source)) return;
        this.#greet(reader, source);
        this.#send(source.answer(reader, step.last, step.cut));
        return;
      }
      case 'read': {
        const [reader, source] = this.#ends(step.link);
        if (!this.#reach(reader, source)) return;
        this.#greet(reader, source);
        this.#read(reader, source);
        return;
      }
      case 'arrive':
        return this.#arrive(step.nth, step.again);
      case 'lose':
        this.#network.splice(step.nth % Math.max(1, this.#network.length), 1);
    }
  }

  #sides = 0;

  #reach(a: ForgettingNode, b: ForgettingNode): boolean {
    return a.awake && b.awake && ((this.#sides >> a.index) & 1) === ((this.#sides >> b.index) & 1);
  }

  #round(): void {
    for (const [i] of this.schedule.links.entries()) {
      const [reader, source] = this.#ends(i);
      if (!this.#reach(reader, source)) continue;
      reader.gossip(source);
      this.#read(reader, source);
    }
  }

  #forget(node: ForgettingNode, evicts: boolean): void {
    const near = this.nodes.filter((other) => this.#reach(node, other));
    for (let again = 0; again < 2; again++) {
      this.#round();
      if (evicts) for (const one of near) for (const other of this.nodes) if (!near.includes(other)) one.evict(other);
    }
    for (const one of near) one.collect(this.schedule.letsGo);
  }

  readonly #met = new Set<string>();

  /** Nothing is read by who has not introduced itself. */
  #greet(a: ForgettingNode, b: ForgettingNode): void {
    const pair = `${a.feed} ${b.feed}`;
    if (!this.#met.has(pair)) a.gossip(b);
    this.#met.add(pair);
  }

  #ends(link: number): [reader: ForgettingNode, source: ForgettingNode] {
    const [a, b] = this.schedule.links[link % this.schedule.links.length]!;
    return [this.nodes[a]!, this.nodes[b]!];
  }

  #write({ do: what, node: index, row: number }: Step & { do: 'write' | 'delete' }): void {
    const node = this.nodes[index]!;
    const row = number % this.schedule.rows;
    if (what === 'delete' && !node.shows(row)) return;
    const state = node.state(row);
    const stamp = node.stamp(row, Math.max(1, this.#time + this.#skews[index]!));
    const name = `w${this.#written.length}`;
    const live = what === 'write';
    const past = this.core.pastOfWrite(state, node.feed);
    const version = { stamp, origin: node.feed, priority: 0, past, deleted: !live, image: live ? { id: name } : null };
    const seen = node.ever(row) | this.#open(node, row);
    this.#written.push({ row, index: this.#written.length, name, live, stamp, origin: node.feed, seen });
    node.write(row, this.core.mergeStates(state, [version]));
  }

  /** The writes of the node's open transaction are known to it by their order: those since its last commit. */
  readonly #opened = new Map<ForgettingNode, { row: number; index: number }[]>();

  #open(node: ForgettingNode, row: number): bigint {
    if (!node.isWriting) this.#opened.set(node, []);
    const own = this.#opened.get(node)!;
    const mask = own.filter((one) => one.row === row).reduce((bits, { index }) => bits | (1n << BigInt(index)), 0n);
    own.push({ row, index: this.#written.length });
    return mask;
  }

  #commit(node: ForgettingNode): void {
    const own = this.#opened.get(node) ?? [];
    node.commit((row: number) =>
      own.filter((one) => one.row === row).reduce((bits, { index }) => bits | (1n << BigInt(index)), 0n),
    );
  }

  #send(message: Message | null): Message | null {
    if (message === null) return null;
    this.#network.push(message);
    this.#sent.push(message);
    return message;
  }

  /** False when it is still on its way. */
  #bring(message: Message): boolean {
    const reader = this.nodes[message.to]!;
    const outcome = reader.merge(message);
    // Whoever is told that it is behind reads first.
    const sender = this.nodes.find(({ name }) => name === message.from)!;
    if (outcome === 'behind' && sender.epoch === message.epoch) sender.copyAnew(reader);
    return outcome !== 'waits';
  }

  #arrive(nth: number, again: boolean): void {
    if (this.#network.length === 0) return;
    const at = nth % this.#network.length;
    const message = this.#network[at]!;
    const sender = this.nodes.find(({ name }) => name === message.from)!;
    if (!this.#reach(this.nodes[message.to]!, sender)) return;
    if (this.#bring(message) && !again) this.#network.splice(at, 1);
  }

  /** True when something was brought that the reader had not come past. */
  #read(reader: ForgettingNode, source: ForgettingNode): boolean {
    let moved = false;
    let last: 'window' | 'copy' = 'window';
    for (let asked = 0; asked < 30; asked++) {
      const before = reader.position(source);
      const message = source.answer(reader, last, 0);
      if (message === null) {
        // It copies anew, or has nothing to ask.
        if (reader.position(source) === before) return moved;
        moved = true;
        continue;
      }
      this.#sent.push(message);
      if (!this.#bring(message) || reader.position(source) === before) return moved;
      last = message.step.kind;
      if (message.rows.length > 0 || last === 'copy') moved = true;
      if (last === 'window') return moved;
    }
    return true;
  }

  /** All wake, transactions end, and everybody reads from its neighbours until nothing is new. */
  #heal(): void {
    this.#sides = 0;
    for (const node of this.nodes) {
      node.awake = true;
      this.#commit(node);
    }
    for (let again = 0; again < 3; again++) {
      this.#settle();
      for (const [i] of this.schedule.links.entries()) this.#ends(i)[0].gossip(this.#ends(i)[1]);
      for (const node of this.nodes) node.collect(this.schedule.letsGo);
    }
    this.#settle();
  }

  #settle(): void {
    const rounds = 4 * this.schedule.nodes + 4;
    for (let round = 0; round < rounds; round++) {
      let moved = false;
      for (const [i] of this.schedule.links.entries()) {
        const [reader, source] = this.#ends(i);
        this.#greet(reader, source);
        if (this.#read(reader, source)) moved = true;
      }
      if (!moved) return;
    }
    throw new Broken(`rows still travel after ${rounds} rounds`);
  }

  #mustHaveConverged(): void {
    for (let row = 0; row < this.schedule.rows; row++) {
      if (this.schedule.letsGo) {
        this.#mustStand(row);
        continue;
      }
      const wanted = this.#frontier(row)
        .flatMap(({ live, name }) => (live ? [name] : []))
        .sort();
      const [first] = this.nodes;
      for (const node of this.nodes) {
        const live = node
          .state(row)
          .flatMap(({ image }) => image?.id ?? [])
          .sort();
        if (live.join() !== wanted.join())
          throw new Broken(
            `${node.name} holds of r${row} ${live.join(' ') || 'nothing'}, not ${wanted.join(' ') || 'nothing'}`,
          );
        if (text(node, row) !== text(first!, row))
          throw new Broken(`r${row} is ${text(first!, row)} at n0, and ${text(node, row)} at ${node.name}`);
        if (visible(node.state(row)) !== visible(first!.state(row))) throw new Broken(`r${row} stands in two ways`);
      }
    }
  }

  /**
   * What lost may be gone; the last write stands. Where that is a deletion it may have been forgotten, and a row stand that was written before it
   * by a node that nobody waited for.
   */
  #mustStand(row: number): void {
    const frontier = this.#frontier(row).sort((a, b) => a.stamp - b.stamp || (a.origin < b.origin ? -1 : 1));
    const last = frontier.at(-1);
    const names = last?.live ? [last.name] : [null, ...frontier.flatMap(({ live, name }) => (live ? [name] : []))];
    const shows = visible(this.nodes[0]!.state(row));
    for (const node of this.nodes) {
      const found = visible(node.state(row));
      if (found !== shows) throw new Broken(`r${row} is ${shows} at n0, and ${found} at ${node.name}`);
    }
    if (!names.includes(shows)) throw new Broken(`r${row} is ${shows}, and not ${names.join(' or ')}`);
  }

  /** Versions that must be there: written, heard of by one that is still here, and not written over knowingly. */
  #frontier(row: number): Written[] {
    const heard = this.nodes.reduce((bits, node) => bits | node.ever(row), 0n);
    const all = this.#written.filter((one) => one.row === row && (heard >> BigInt(one.index)) & 1n);
    const covered = all.reduce((bits, { seen }) => bits | seen, 0n);
    return all.filter(({ index }) => !((covered >> BigInt(index)) & 1n));
  }

  /** Whatever window was ever sent may still come; a piece of a copy comes to who has asked for it. */
  #lateMessages(): void {
    for (const message of this.#sent.toReversed()) {
      if (message.step.kind === 'copy') continue;
      if (message.epoch !== this.nodes.find(({ name }) => name === message.from)!.epoch) continue;
      const reader = this.nodes[message.to]!;
      const before = shown(reader, this.schedule.rows);
      this.#bring(message);
      const after = shown(reader, this.schedule.rows);
      if (before !== after)
        throw new Broken(
          `a late ${message.step.kind} of ${message.from} makes ${after} of ${before} at ${reader.name}`,
        );
    }
    this.#settle();
    this.#mustHaveConverged();
  }
}

/** A sole tombstone is as good as none. */
function text(node: ForgettingNode, row: number): string {
  const state = node.state(row);
  if (state.every(({ deleted }) => deleted)) return 'nothing';
  return state.map(({ origin, stamp, deleted }) => `${origin}@${stamp}${deleted ? ' deleted' : ''}`).join(', ');
}

function shown(node: ForgettingNode, rows: number): string {
  return Array.from({ length: rows }, (_, row) => visible(node.state(row)) ?? '-').join(' ');
}

export { table };
