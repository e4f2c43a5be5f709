import { includes, type Knowledge, type Position, type Seen, type Slot } from '@pgmesh/core';
import { fromWireKnowledge, fromWirePosition, fromWireSeen, type Hello } from '@pgmesh/wire';
import { type ToldTables, toldTables } from './told-tables';

/** What another node has told us of itself. All of it may be out of date; acting on it then costs time, never data. */
export interface Neighbour {
  readonly nodeId: string;
  readonly epoch: string;
  readonly tables: readonly string[];
  readonly told: ToldTables;
  /** How it decides conflicts (libs/core: formatRules). */
  readonly rules: string;
  /** Which numbers it draws for serial keys; null when it has not been told. */
  readonly slot: Slot | null;
  /** How much it had to do when it last greeted us (libs/sync: Load). */
  readonly load: number;
  /** The nodes that it has a live link to. */
  readonly links: readonly string[];
  readonly knowledge: Knowledge;
  readonly seen: Seen;
  /** Where it stands in our feed, as it said, or as it must stand if it applied what we last gave it. */
  readonly position: Position | null;
  /** When it last dialled us, in ms since 1970; null when it never did. */
  readonly dialledAt: number | null;
}

export type NeighbourFacts = Partial<Pick<Neighbour, 'links' | 'knowledge' | 'seen' | 'position'>>;

/** `dialled`: it reached us. `told`: it told of itself unasked. `asked`: it asks us to fetch what it has. */
export type NeighbourListener = (nodeId: string, what: 'dialled' | 'told' | 'asked') => void;

/** Whether the node reaches us by itself, and so brings its changes: then there is no need to hold a request open for them. */
export function dialsUs(neighbour: Neighbour, self: string, now: number, interval: number): boolean {
  return hasDialled(neighbour, now, interval) || neighbour.links.includes(self);
}

/** Whether it has done so of late. */
export function hasDialled({ dialledAt }: Neighbour, now: number, interval: number): boolean {
  return dialledAt !== null && now - dialledAt <= 2.5 * interval;
}

/** Whether all of one position is contained in the other, copies that have come to their end included. */
function isBehind(position: Position | null, other: Position): boolean {
  if (position === null) return true;
  const tables = [...position.tables, ...(position.copy?.tables ?? [])];
  return (
    position.epoch === other.epoch &&
    tables.every((table) => other.tables.includes(table)) &&
    includes(other.snapshot, position.snapshot)
  );
}

/** All nodes that we have exchanged greetings with, by node id. */
export class Neighbours {
  readonly #all = new Map<string, Neighbour>();
  readonly #listeners = new Set<NeighbourListener>();

  constructor(private readonly clock: () => number) {}

  get(nodeId: string): Neighbour | undefined {
    return this.#all.get(nodeId);
  }

  /** The nodes that said that they hold a link to this one, and were heard of since, in order. */
  linkedTo(self: string, since: number): string[] {
    const all = [...this.#all.values()];
    return all
      .filter(({ links, dialledAt }) => links.includes(self) && dialledAt !== null && dialledAt >= since)
      .map(({ nodeId }) => nodeId)
      .sort();
  }

  /** Returns what ends the listening. */
  on(listener: NeighbourListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A greeting, or the answer to ours. */
  met(hello: Hello): void {
    const before = this.#all.get(hello.node_id);
    const told = fromWirePosition(hello.position);
    const presumed = before?.epoch === hello.epoch ? before.position : null;
    this.#all.set(hello.node_id, {
      nodeId: hello.node_id,
      epoch: hello.epoch,
      tables: String(before?.tables) === String(hello.tables) ? before!.tables : hello.tables,
      told: toldTables(hello, before?.told),
      rules: hello.rules,
      slot: hello.sequences,
      load: hello.load,
      links: hello.links,
      knowledge: fromWireKnowledge(hello.knowledge),
      seen: fromWireSeen(hello.seen),
      // A greeting may have been overtaken by the window that we gave meanwhile.
      position: presumed && isBehind(told, presumed) ? presumed : told,
      dialledAt: before?.dialledAt ?? null,
    });
  }

  /** It told of itself in answer to us. Of a node that never greeted us we keep nothing. */
  update(nodeId: string, facts: NeighbourFacts): void {
    const neighbour = this.#all.get(nodeId);
    if (neighbour) this.#all.set(nodeId, { ...neighbour, ...facts });
  }

  /** It dialled us, and told of itself. */
  heard(nodeId: string, facts: NeighbourFacts, asked = false): void {
    const neighbour = this.#all.get(nodeId);
    if (!neighbour) return;
    this.#all.set(nodeId, { ...neighbour, ...facts, dialledAt: this.clock() });
    for (const listener of [...this.#listeners]) {
      listener(nodeId, 'dialled');
      listener(nodeId, 'told');
      if (asked) listener(nodeId, 'asked');
    }
  }
}
