import type { RowState, StrategyName } from '@pgmesh/core';
import { Broken, type Core, History, type Replica } from './history';
import { type Message, SimulatedNode } from './node';
import type { Schedule, Step } from './schedule';

/** What went wrong; null when a schedule was played and healed as it must be. */
export function simulate(core: Core, schedule: Schedule): string | null {
  try {
    new Simulation(core, schedule).run();
    return null;
  } catch (error) {
    if (error instanceof Broken) return error.message;
    return `threw ${(error as Error).stack}`;
  }
}

class Simulation {
  readonly #histories: History[];
  readonly #nodes: SimulatedNode[];
  readonly #strategies: StrategyName[];
  readonly #skews: number[];
  readonly #promised: bigint[][];
  readonly #backedUp: (readonly bigint[])[];
  readonly #sent: Message[] = [];
  #network: Message[] = [];
  #time = 100;

  constructor(
    core: Core,
    readonly schedule: Schedule,
  ) {
    const each = <Item>(make: (i: number) => Item) => Array.from({ length: schedule.nodes }, (_, i) => make(i));
    this.#histories = Array.from({ length: schedule.rows }, (_, row) => new History(core, `r${row}`));
    this.#nodes = each((i) => new SimulatedNode(i, core, this.#histories));
    this.#strategies = each(() => schedule.strategy);
    this.#skews = [...schedule.skews];
    this.#promised = each(() => this.#histories.map(() => 0n));
    this.#backedUp = each(() => this.#histories.map(() => 0n));
  }

  run(): void {
    for (const [i, step] of this.schedule.steps.entries()) this.#during(`step ${i}`, () => this.#take(step));
    this.#during('healing', () => this.#heal());
    this.#during('at rest', () => this.#mustHaveConverged());
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
    switch (step.do) {
      case 'write':
        return this.#write(step);
      case 'commit':
        return this.#commit(step.node);
      case 'rollback':
      case 'crash':
        return this.#nodes[step.node]!.forget();
      case 'send':
        return this.#send(step.link % this.schedule.links.length);
      case 'arrive':
        return this.#arrive(step.nth, step.again);
      case 'lose':
        this.#network.splice(step.nth % Math.max(1, this.#network.length), 1);
        return;
      case 'clock':
        this.#skews[step.node]! += step.by;
        return;
      case 'backup':
        this.#nodes[step.node]!.backup();
        this.#backedUp[step.node] = [...this.#promised[step.node]!];
        return;
      case 'restore':
        if (this.#nodes[step.node]!.restore()) this.#promised[step.node] = [...this.#backedUp[step.node]!];
        return;
      case 'rule':
        this.#strategies[step.node] = step.strategy;
    }
  }

  #write({ node: index, row, edit }: Step & { do: 'write' }): void {
    const node = this.#nodes[index]!;
    const at = row % this.#histories.length;
    const writer = {
      origin: node.origin,
      priority: this.schedule.priorities[index]!,
      now: Math.max(1, this.#time + this.#skews[index]!),
    };
    const replica = this.#histories[at]!.write(node.replica(at), writer, edit, this.#strategies[index]!);
    if (replica !== null) node.write(at, replica);
  }

  /** From now on everybody has to hear of what was written. */
  #commit(index: number): void {
    const node = this.#nodes[index]!;
    for (const row of node.commit()) this.#promised[index]![row]! |= node.replica(row).known;
  }

  #send(link: number): void {
    const [reader, source] = this.schedule.links[link]!;
    const message = this.#nodes[source]!.window(this.#nodes[reader]!);
    this.#network.push(message);
    this.#sent.push(message);
  }

  #arrive(nth: number, again: boolean): void {
    if (this.#network.length === 0) return;
    const at = nth % this.#network.length;
    const message = this.#network[at]!;
    if (this.#nodes[message.to]!.merge(message) && !again) this.#network.splice(at, 1);
  }

  /** Transactions end, all go by the last rule, and everybody reads from its neighbours until nothing is new. */
  #heal(): void {
    const strategy = this.#strategies.at(-1)!;
    this.#nodes.forEach((_, i) => this.#commit(i));
    this.#strategies.fill(strategy);
    // A change takes as many rounds as the mesh is wide, at the most.
    for (let round = 0; round <= this.schedule.nodes; round++) {
      let moved = false;
      for (const [reader, source] of this.schedule.links) {
        const message = this.#nodes[source]!.window(this.#nodes[reader]!);
        if (message.rows.length > 0) moved = true;
        this.#sent.push(message);
        this.#nodes[reader]!.merge(message);
      }
      if (!moved) return;
    }
    throw new Broken(`rows still travel after ${this.schedule.nodes} rounds`);
  }

  #mustHaveConverged(): void {
    const strategy = this.#strategies[0]!;
    for (const [row, history] of this.#histories.entries()) {
      const first = this.#nodes[0]!.replica(row);
      if (first.known === 0n) continue;
      history.check(first, strategy);
      for (const [i, node] of this.#nodes.entries()) {
        const replica = node.replica(row);
        if (replica.known !== first.known) throw new Broken(`n0 and ${node.name} have not heard of the same writes`);
        // Versions are never copied here, so that equal states are the same versions in the same order.
        if (!same(replica.state, first.state)) throw new Broken(`n0 and ${node.name} hold other metadata`);
        const lost = this.#promised[i]![row]! & ~first.known;
        if (lost !== 0n) throw new Broken(`n0 never heard of what ${node.name} committed`);
      }
      this.#mustChangeNothing(row, history);
    }
  }

  /** Whatever was ever sent may still come. */
  #mustChangeNothing(row: number, history: History): void {
    const replica = this.#nodes[0]!.replica(row);
    const tried = new Set<Replica>();
    for (const { rows, from } of this.#sent) {
      for (const [at, late] of rows) {
        // What a restored node had told nobody else is gone, and would be news.
        if (at !== row || tried.has(late) || (late.known & ~replica.known) !== 0n) continue;
        tried.add(late);
        if (!same(history.merge(replica, late).state, replica.state))
          throw new Broken(`a late message of ${from} changes a row`);
      }
    }
  }
}

function same(a: RowState, b: RowState): boolean {
  return a.length === b.length && a.every((version, i) => version === b[i]);
}
