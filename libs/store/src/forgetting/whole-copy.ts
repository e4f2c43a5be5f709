import { concluded, type Guards, takenOver } from '@pgmesh/core';
import { fromWireGuards, type WindowFrame } from '@pgmesh/wire';
import type { PoolClient } from 'pg';
import type { Judge } from '../apply/judge';
import type { Stage } from '../apply/stage';
import { inData, inMeta, keysEqual, metaKeys } from '../keys';
import type { Settlement } from '../parking/settlement';
import type { TableShape } from '../table-shape';
import { CopyNotes } from './copy-notes';
import { presentWithOurs, writeGuards } from './guards';
import type { Past } from './past';

export interface WholeCopyOptions {
  readonly nodeId: string;
  readonly epoch: string;
  /** Under which we write. */
  readonly origin: string;
  readonly judge: Judge;
}

type GuardsByTable = ReadonlyMap<string, Guards>;

/** Under which incarnation of ours deletions are written that must have been made by others: none of ours is called so. */
const presumed = 'presumed0000';

/** A piece of a copy that brings every row of some tables, and what comes with its first and last. */
export class WholeCopy {
  private readonly notes: CopyNotes;

  /** @param feed the source's */
  constructor(
    private readonly client: PoolClient,
    private readonly head: WindowFrame,
    private readonly tables: readonly TableShape[],
    feed: string,
    private readonly options: WholeCopyOptions,
  ) {
    this.notes = new CopyNotes(client, head.node, feed);
  }

  /** With the first piece the source's guards become ours. Returns all that are ours then. */
  async begin(guards: GuardsByTable): Promise<GuardsByTable> {
    if (this.head.at !== null) return guards;
    await this.notes.begin(this.tables);
    const self = { node: this.options.nodeId, epoch: this.options.epoch };
    const all = new Map(guards);
    for (const { id, name } of this.tables) {
      const joined = takenOver(guards.get(name) ?? [], fromWireGuards(this.head.guards, name), self);
      all.set(name, joined);
      await this.client.query(writeGuards(id, joined));
    }
    return all;
  }

  async add(stage: Stage): Promise<void> {
    if (this.head.whole.includes(stage.shape.name)) await this.notes.add(stage);
  }

  /**
   * After the last piece: what was not brought is deleted, and who reads on from us has everything.
   * @returns how many rows have changed, by table
   */
  async conclude(
    guards: GuardsByTable,
    pastOf: (table: string) => Past,
    settlement: Settlement | null,
  ): Promise<ReadonlyMap<TableShape, number>> {
    const { client } = this;
    const { nodeId, epoch, origin, judge } = this.options;
    const changed = new Map<TableShape, number>();
    for (const table of this.tables) {
      const all = `(SELECT ${metaKeys(table, 'm')} FROM ${table.meta} AS m) AS b`;
      const lifted = await settlement?.liftRows(table, all, keysEqual(table, inData('d'), inMeta('b')), []);
      const past = pastOf(table.name);
      const removal = { client, shape: lifted ?? table, judge, past, origin, presumed: `${nodeId}~${presumed}` };
      changed.set(table, await this.notes.conclude(removal));
      const snapshot = await presentWithOurs(client);
      const own = { node: nodeId, epoch, snapshot };
      await client.query(writeGuards(table.id, concluded(guards.get(table.name) ?? [], own)));
    }
    await this.notes.forget();
    return changed;
  }
}
