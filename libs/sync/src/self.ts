import { randomUUID } from 'node:crypto';
import { type Hello, Problem, protocolVersion, toWireKnowledge, toWirePosition, toWireSeen } from '@pgmesh/wire';
import { formatRules } from '@pgmesh/core';
import { otherNode, otherProtocol } from './incoming';
import type { Store } from './ports';
import { constraintsFor, formsFor, type ToldTables } from './told-tables';

export interface SelfOptions {
  readonly store: Store;
  /** Only nodes of the same room talk to each other. */
  readonly room: string;
  /** Where we can be dialled; null when we cannot. */
  readonly url: () => string | null;
  /** The nodes that we have a live link to. */
  readonly links: () => readonly string[];
  /** How much we have to do just now. */
  readonly load: () => number;
  /** Of the members that we know of. */
  readonly digest: () => Promise<string>;
}

/** How we introduce ourselves, and whom we refuse. */
export class Self {
  readonly #instance = randomUUID();

  constructor(private readonly options: SelfOptions) {}

  /** Our greeting, to a node, with what it has told of its tables, or to whoever answers (null). */
  async hello(to: string | null, told?: ToldTables): Promise<Hello> {
    const { store, room, url, links, load, digest } = this.options;
    const { nodeId, epoch } = store.identity;
    const [tables, forms] = [store.tables(), store.forms()];
    const { inbox } = store;
    const [members, knowledge, seen] = [await digest(), await inbox.knowledge(), await inbox.seen()];
    const position = to === null || to === nodeId ? null : await inbox.position(to);
    // Asked last: two processes that both greet in one name are taken for copies of a node.
    if (!store.leads) throw new Problem('unavailable', 'This process has stood still, and another one may lead now.');
    return {
      protocol: protocolVersion,
      instance: this.#instance,
      node_id: nodeId,
      epoch,
      room,
      tables: [...tables],
      digests: tables.map((table) => forms.get(table)?.digest ?? ''),
      forms: formsFor(forms, told),
      constraint_digests: tables.map((table) => forms.get(table)?.constraintsDigest ?? ''),
      constraints: constraintsFor(forms, told),
      rules: formatRules(store.rules),
      sequences: store.slot,
      members,
      load: load(),
      url: url(),
      links: [...links()],
      knowledge: toWireKnowledge(knowledge),
      seen: toWireSeen(seen),
      position: toWirePosition(position),
    };
  }

  /** Whether we are talking to ourselves. */
  is(hello: Hello): boolean {
    return hello.instance === this.#instance;
  }

  /** @throws Problem `other_protocol`, `other_room`, `other_node` (our id, but not us) */
  check(hello: Hello): void {
    const { store, room } = this.options;
    if (hello.protocol !== protocolVersion) throw otherProtocol(hello.protocol);
    if (hello.room !== room) {
      throw new Problem(
        'other_room',
        `The nodes are of different rooms, ${JSON.stringify(room)} and ${JSON.stringify(hello.room.slice(0, 63))}. ` +
          'Set the same P2P_ROOM on both, or leave them apart.',
      );
    }
    if (hello.node_id === store.identity.nodeId && !this.is(hello)) throw otherNode(hello.node_id);
  }
}
