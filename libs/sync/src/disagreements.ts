import { clashOf, type SlotClash } from '@pgmesh/core';
import { constraintsDiffer } from './constraints-differ';
import type { LinkContext } from './link-context';
import { rulesDiffer } from './rules-differ';
import type { LinkStatus } from './status';

/** What a peer has otherwise than we do although all nodes should have the same: nothing stops for it, and both sides say so. */
export class Disagreements {
  #rules: LinkStatus['rules_differ'] = [];
  #constraints: LinkStatus['constraints_differ'] = [];
  #clash: SlotClash | null = null;
  #compared: readonly unknown[] = [];

  constructor(private readonly context: Pick<LinkContext, 'store' | 'neighbours' | 'events'>) {}

  get rules(): LinkStatus['rules_differ'] {
    return this.#rules;
  }

  get constraints(): LinkStatus['constraints_differ'] {
    return this.#constraints;
  }

  /** Looks again, where something was told anew, and tells what has changed. */
  compare(peer: string | null): void {
    const { store, neighbours } = this.context;
    const neighbour = peer === null ? undefined : neighbours.get(peer);
    if (!neighbour) return;
    const { rules, slot, told, tables } = neighbour;
    const compared = [store.rules, store.slot, store.forms(), peer, rules, slot, told, tables];
    if (compared.every((one, i) => one === this.#compared[i])) return;
    this.#compared = compared;
    this.#noteRules(neighbour.nodeId, rulesDiffer(store.rules, rules));
    this.#noteConstraints(neighbour.nodeId, constraintsDiffer(store, neighbour));
    this.#noteClash(neighbour.nodeId, clashOf(store.slot, slot));
  }

  /** Rows in conflict stand alike only where the rules are alike: a mesh that disagrees on them has to say so. */
  #noteRules(peer: string, differences: LinkStatus['rules_differ']): void {
    if (JSON.stringify(differences) === JSON.stringify(this.#rules)) return;
    this.#rules = differences;
    this.context.events.emit({ type: 'rules_differ', peer, differences });
  }

  /** Nodes that keep out different rows park different rows. */
  #noteConstraints(peer: string, differences: LinkStatus['constraints_differ']): void {
    if (JSON.stringify(differences) === JSON.stringify(this.#constraints)) return;
    this.#constraints = differences;
    this.context.events.emit({ type: 'constraints_differ', peer, differences });
  }

  /** Two nodes that draw the same numbers give different rows one key. */
  #noteClash(peer: string, clash: SlotClash | null): void {
    if (clash === this.#clash) return;
    this.#clash = clash;
    const { store, neighbours, events } = this.context;
    events.emit({ type: 'sequences_clash', peer, clash, ours: store.slot, theirs: neighbours.get(peer)!.slot });
  }
}
