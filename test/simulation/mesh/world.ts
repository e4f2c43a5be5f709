import { seededRandom } from '@pgmesh/core';
import type { KnownPeer } from '../../../libs/sync/src/peers';
import { MeshSimulationNode } from './mesh-node';
import { Timeline } from './timeline';

export interface Scenario {
  readonly nodes: number;
  /** P2P_LINKS. */
  readonly links: number;
  /** The part of the messages that is lost, on either way. */
  readonly loss: number;
  /** The part of the nodes that fails within a minute, and is back half a minute later. */
  readonly churn: number;
  readonly changes: number;
  /** How many of the nodes write. */
  readonly writers: number;
  readonly seed: number;
}

/** When a change came to a node, after how many links. */
export interface Arrival {
  readonly change: number;
  readonly ms: number;
  readonly hops: number;
  /** Whether the node was there all the time. */
  readonly steady: boolean;
}

export interface Outcome {
  readonly scenario: Scenario;
  readonly arrivals: readonly Arrival[];
  /** Rows and messages of each kind that were sent, for each change and node that lacked it. */
  readonly rows: number;
  readonly pushes: number;
  readonly questions: number;
  /** Whether all nodes had everything in the end. */
  readonly converged: boolean;
  readonly links: { readonly mean: number; readonly most: number };
}

/** All nodes and the network between them. The same seed gives the same history. */
export class World {
  readonly interval = 30_000;
  readonly hold = 250;
  readonly retries = 3;
  readonly timeout = 1_000;
  readonly time = new Timeline();
  readonly random: () => number;
  readonly bound: number;
  readonly #nodes = new Map<string, MeshSimulationNode>();
  readonly #written: number[] = [];
  readonly #shaken = new Set<string>();
  readonly #arrivals: Arrival[] = [];
  readonly #messages = { greeting: 0, question: 0, push: 0 };
  #rows = 0;

  constructor(private readonly scenario: Scenario) {
    this.random = seededRandom(scenario.seed);
    this.bound = scenario.links;
    const ids = Array.from({ length: scenario.nodes }, (_, i) => `node${i}`);
    const peers = ids.map((id): KnownPeer => ({ id, nodeId: id, url: id, urls: [id], byHand: false }));
    const byId = new Map(peers.map((peer) => [peer.id, peer]));
    for (const id of ids) {
      const others = peers.filter((peer) => peer.id !== id);
      this.#nodes.set(id, new MeshSimulationNode(id, this, others, byId));
    }
  }

  run(): Outcome {
    const { changes, churn, nodes } = this.scenario;
    const all = [...this.#nodes.values()];
    for (const node of all) node.follow();
    this.time.runUntil(20_000);
    const links = all.map(({ links: { size } }) => size);
    const writing = 60_000;
    for (let i = 0; i < churn * nodes; i++) this.time.after(this.random() * writing, () => this.#shake(all));
    for (let change = 0; change < changes; change++) {
      this.time.after(this.random() * writing, () => this.#write(change, all));
    }
    this.time.runUntil(20_000 + writing + 120_000);
    const ideal = changes * (nodes - 1);
    return {
      scenario: this.scenario,
      arrivals: this.#arrivals,
      rows: this.#rows / ideal,
      pushes: this.#messages.push / ideal,
      questions: this.#messages.question / ideal,
      converged: all.every((node) => this.#written.every((_, change) => node.has(change))),
      links: { mean: links.reduce((sum, size) => sum + size, 0) / nodes, most: Math.max(...links) },
    };
  }

  writes(id: string): boolean {
    return Number(id.slice('node'.length)) < this.scenario.writers;
  }

  node(id: string): MeshSimulationNode {
    return this.#nodes.get(id)!;
  }

  /** Sends something, which is answered or not. */
  message<T>(
    kind: 'greeting' | 'question' | 'push',
    from: string,
    to: string,
    answer: (peer: MeshSimulationNode) => T,
    then: (outcome: { answer: T } | { lost: true }) => void,
  ): void {
    this.#messages[kind] += 1;
    const peer = this.node(to);
    const lose = (): boolean => this.random() < this.scenario.loss;
    const silent = (after: number): void => this.time.after(this.timeout - after, () => then({ lost: true }));
    const there = this.#delay(from, to);
    if (lose()) return silent(0);
    this.time.after(there, () => {
      if (!peer.up) return silent(there);
      peer.heard(from);
      const told = answer(peer);
      if (lose()) return silent(there);
      this.time.after(this.#delay(to, from), () => then({ answer: told }));
    });
  }

  sent(rows: number): void {
    this.#rows += rows;
  }

  arrived({ id }: MeshSimulationNode, change: number, hops: number): void {
    this.#arrivals.push({ change, ms: this.time.now - this.#written[change]!, hops, steady: !this.#shaken.has(id) });
  }

  #write(change: number, all: readonly MeshSimulationNode[]): void {
    const writers = all.slice(0, this.scenario.writers);
    this.#written[change] = this.time.now;
    // One that is down writes all the same: its node is off, its database is not.
    writers[Math.floor(this.random() * writers.length)]!.write(change);
  }

  #shake(all: readonly MeshSimulationNode[]): void {
    const node = all[Math.floor(this.random() * all.length)]!;
    if (!node.up) return;
    this.#shaken.add(node.id);
    node.fail();
    this.time.after(30_000, () => node.comeBack());
  }

  /** 5 to 50 ms, by the pair of nodes, and some of chance: what lies between two sites is far or near for good. */
  #delay(one: string, other: string): number {
    const pair = one < other ? `${one} ${other}` : `${other} ${one}`;
    let sum = 0;
    for (let i = 0; i < pair.length; i++) sum = (Math.imul(sum, 31) + pair.charCodeAt(i)) >>> 0;
    return 5 + seededRandom(sum)() * 40 + this.random() * 5;
  }
}
