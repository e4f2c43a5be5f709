import { feedName, parseSnapshot, remedyOf } from '@pgmesh/core';
import {
  type DigestAnswer,
  digestRequestSchema,
  fromWireKnowledge,
  fromWirePosition,
  type HeldAnswer,
  heldRequestSchema,
  parseBody,
  Problem,
  protocolVersion,
  rowsRequestSchema,
  settleRequestSchema,
  toWireKnowledge,
  toWirePosition,
} from '@pgmesh/wire';
import { encodeBody } from '../content-encoding';
import type { Served } from '../exchange';
import { otherNode, otherProtocol } from '../incoming';
import type { Journal } from '../journal';
import type { Neighbours } from '../neighbours';
import { Outgoing } from '../outgoing';
import type { Store } from '../ports';
import { hasRead } from './has-read';

export interface AnswersParts {
  readonly store: Store;
  readonly neighbours: Neighbours;
  readonly journal: Journal;
  readonly links: () => readonly string[];
}

/** What a node answers another that compares its rows with ours: what the HTTP controllers call, with bodies as they came. */
export class ComparisonAnswers {
  constructor(private readonly parts: AnswersParts) {}

  /** @throws Problem `bad_request`, `other_protocol`, `other_node`, `not_found`, `unknown_column` */
  async digest(body: unknown): Promise<DigestAnswer> {
    const asked = parseBody(digestRequestSchema, body, 'request for digests');
    this.#check(asked);
    const { digests } = this.parts.store;
    const order = await digests.order(asked.table);
    const byIndex = asked.order !== null;
    if (byIndex && asked.order !== order) return { order, ranges: [] };
    const ranges = await digests.read({ ...asked, byIndex }, asked.ranges);
    return { order: asked.order, ranges: ranges as DigestAnswer['ranges'] };
  }

  async held(body: unknown): Promise<HeldAnswer> {
    const asked = parseBody(heldRequestSchema, body, 'request for rows');
    this.#check(asked);
    const { store, neighbours, links } = this.parts;
    const { nodeId, epoch } = store.identity;
    const asker = {
      nodeId: asked.node_id,
      epoch: neighbours.get(asked.node_id)?.epoch,
      position: fromWirePosition(asked.position),
      knowledge: fromWireKnowledge(asked.knowledge),
      links: asked.links,
    };
    const since = asked.since === null ? null : parseSnapshot(asked.since);
    const read = since !== null && (await hasRead(store, asker, asked.table, since));
    // Before the rows: what they show is then of where we say we stand, or later.
    const position = toWirePosition(await store.inbox.position(asked.node_id));
    const knowledge = toWireKnowledge(await store.inbox.knowledge());
    const { snapshot, rows } = await store.digests.held({ ...asked, byIndex: true }, asked.keys);
    return {
      origin: feedName(nodeId, epoch),
      snapshot,
      rows: rows as HeldAnswer['rows'],
      read,
      position,
      knowledge,
      links: [...links()],
    };
  }

  /** Our part about rows that the asker holds otherwise, found by the same rule as its own. */
  async settle(body: unknown): Promise<{ settled: number }> {
    const asked = parseBody(settleRequestSchema, body, 'request to settle rows');
    this.#check(asked);
    const { store } = this.parts;
    const { nodeId, epoch } = store.identity;
    const comparison = { ...asked, byIndex: true };
    const keys = asked.rows.map(({ held }) => held.key);
    const { rows } = await store.digests.held(comparison, keys);
    const us = { nodeId, origin: feedName(nodeId, epoch) };
    const them = { nodeId: asked.node_id, origin: asked.origin };
    const remedies = asked.rows.flatMap(({ digest, held }, i) => {
      const ours = rows[i]!;
      const remedy = ours.digest === digest ? remedyOf(ours, held, us, them) : 'none';
      return remedy === 'none' ? [] : [{ key: ours.key, digest, remedy }];
    });
    return { settled: await store.digests.settle(comparison, remedies) };
  }

  async rows(body: unknown): Promise<Served> {
    const asked = parseBody(rowsRequestSchema, body, 'request for rows');
    this.#check({ ...asked, columns: [] });
    const { store, journal } = this.parts;
    const window = await store.digests.open(asked.table, asked.keys);
    const outgoing = new Outgoing(window.frames());
    const served = async function* (): AsyncGenerator<Buffer> {
      try {
        yield* encodeBody(outgoing);
        journal.served(asked.node_id, window.head, outgoing);
      } finally {
        await window.close();
      }
    };
    return { head: window.head, rows: window.rows, body: served(), close: () => window.close() };
  }

  #check({ protocol, node_id, table, columns }: Asked): void {
    const { store } = this.parts;
    if (protocol !== protocolVersion) throw otherProtocol(protocol);
    if (node_id === store.identity.nodeId) throw otherNode(node_id);
    const form = store.tables().includes(table) ? store.forms().get(table)?.form : undefined;
    if (!form) throw new Problem('not_found', 'No table of that name is shared here.');
    const unknown = columns.find((name) => !form.columns.some((column) => column.name === name && !column.generated));
    if (unknown === undefined) return;
    const detail = `${table} has no column "${unknown.slice(0, 100)}" here that could be compared. The nodes greet each other anew.`;
    throw new Problem('unknown_column', detail, { table, column: unknown });
  }
}

interface Asked {
  readonly protocol: number;
  readonly node_id: string;
  readonly table: string;
  readonly columns: readonly string[];
}
