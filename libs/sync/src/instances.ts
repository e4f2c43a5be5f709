import { type Hello, Problem } from '@pgmesh/wire';

/** When a process was heard of: in order, for the clock may step back meanwhile, and at what time last. */
interface Seen {
  readonly first: number;
  readonly last: number;
  readonly at: number;
}

/**
 * Tells a node that was started again from a node that runs twice, on a copied disk say (trap 9): a process that has been
 * replaced is never heard of again. Two that are heard of in turns write under one name, and neither is trusted any more until
 * only one has answered for a while.
 */
export class Instances {
  readonly #seen = new Map<string, Map<string, Seen>>();
  readonly #doubled = new Set<string>();
  #turn = 0;

  /**
   * @param memory milliseconds after which a process that was not heard of counts as gone
   * @param found told once when a node is found to run twice
   */
  constructor(
    private readonly clock: () => number,
    private readonly memory: number,
    private readonly found: (problem: Problem, nodeId: string) => void,
  ) {}

  /** @throws Problem `cloned_node` when another process of that name was heard of after this one */
  met({ node_id: nodeId, instance }: Pick<Hello, 'node_id' | 'instance'>): void {
    const now = this.clock();
    const seen = this.#seen.get(nodeId) ?? new Map<string, Seen>();
    for (const [other, { at }] of seen) if (Math.abs(now - at) > this.memory) seen.delete(other);
    const turn = ++this.#turn;
    const { first } = seen.get(instance) ?? { first: turn };
    const doubled = [...seen].some(([other, { last }]) => other !== instance && last > first);
    // Last in order is who was heard of last.
    seen.delete(instance);
    seen.set(instance, { first, last: turn, at: now });
    this.#seen.set(nodeId, seen);
    if (!doubled) {
      if (seen.size === 1) this.#doubled.delete(nodeId);
      return this.assertOne(nodeId);
    }
    const isNew = !this.#doubled.has(nodeId);
    this.#doubled.add(nodeId);
    if (isNew) this.found(runsTwice(nodeId), nodeId);
    throw runsTwice(nodeId);
  }

  /** Whether that process is the one that was heard of last under its name. */
  isLatest(nodeId: string, instance: string): boolean {
    return [...(this.#seen.get(nodeId)?.keys() ?? [])].at(-1) === instance;
  }

  /** @throws Problem `cloned_node` while the node is known to run twice */
  assertOne(nodeId: string): void {
    if (this.#doubled.has(nodeId)) throw runsTwice(nodeId);
  }
}

function runsTwice(nodeId: string): Problem {
  return new Problem(
    'cloned_node',
    `Two processes answer in turns as "${nodeId}": a copy of its database was started. Nothing is ` +
      `exchanged with either until one has been stopped for a while. A copy needs a name of its own before it is started again: ` +
      `pgmesh new-incarnation.`,
    { node_id: nodeId },
  );
}
