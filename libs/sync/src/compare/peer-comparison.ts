import { fromWirePosition } from '@pgmesh/wire';
import { failureOf } from '../failure';
import type { LinkContext } from '../link-context';
import type { LastCompared, PausedTable } from '../status';
import { columnsInCommon } from './columns';
import { follows } from './has-read';
import type { ComparedPeer, ComparedTable, CompareOptions } from './result';
import { askHeld, type OtherNode } from './row-check';
import { TableComparison } from './table-comparison';

const nothing = { rows: 0, differ: 0, repaired: 0, unsettled: 0, keys: [] };

/** Compares the tables that are shared with one peer, one after the other, and repairs what differs where that is asked for. */
export class PeerComparison {
  constructor(
    private readonly context: LinkContext,
    private readonly peer: OtherNode,
    /** The tables that are kept out of the exchange with it. */
    private readonly paused: readonly PausedTable[],
    /** Lets the exchange with it look at once whether there is something. */
    private readonly nudge: () => void,
    private readonly options: CompareOptions,
  ) {}

  /** What fails on the way ends it, and is told with what was compared until then. `tables`: of ours; all unless given. */
  async run(tables: readonly string[] | undefined, signal: AbortSignal): Promise<ComparedPeer> {
    const { store, events } = this.context;
    const compared: ComparedTable[] = [];
    try {
      for (const table of tables ?? store.tables()) {
        const one = await this.compare(table, signal);
        compared.push(one);
        const { rows, differ, repaired } = one;
        if (differ > 0) events.emit({ type: 'rows_differ', peer: this.peer.nodeId, table, rows, differ, repaired });
        this.options.compared?.(this.peer.nodeId, one);
      }
      return { peer: this.peer.nodeId, tables: compared, error: null };
    } catch (error) {
      if (signal.aborted) throw error;
      const { code, detail } = failureOf(error);
      return { peer: this.peer.nodeId, tables: compared, error: { code, detail } };
    }
  }

  private async compare(table: string, signal: AbortSignal): Promise<ComparedTable> {
    const { store, neighbours } = this.context;
    const neighbour = neighbours.get(this.peer.nodeId);
    if (!neighbour?.tables.includes(table))
      return { table, state: 'not_shared', detail: `${this.peer.nodeId} does not share it.`, ...nothing };
    const paused = this.paused.find((one) => one.table === table);
    if (paused) return { table, state: 'paused', detail: paused.reason, ...nothing };
    const columns = columnsInCommon(store, neighbour.told, table);
    if (columns === null) {
      return {
        table,
        state: 'paused',
        detail: 'It has just been altered; the nodes greet each other anew.',
        ...nothing,
      };
    }
    const copying = await this.whoCopies(table, columns, signal);
    if (copying !== null) return { table, state: 'copying', detail: copying, ...nothing };
    return new TableComparison(this.context, this.peer, columns, this.nudge, this.options).run(table, signal);
  }

  /** A table of which one of both has not all rows yet differs, as it must. */
  private async whoCopies(table: string, columns: readonly string[], signal: AbortSignal): Promise<string | null> {
    const { store } = this.context;
    const { nodeId, epoch } = this.peer;
    const position = await store.inbox.position(nodeId);
    if (!follows(position, epoch, table)) return `This node does not follow ${nodeId}'s changes of it yet.`;
    const answer = await askHeld(this.context, this.peer, { table, columns, settled: false }, [], null, signal);
    const theirs = fromWirePosition(answer.position);
    return follows(theirs, store.identity.epoch, table)
      ? null
      : `${nodeId} does not follow this node's changes of it yet.`;
  }
}

/** A comparison of all tables in a few numbers. */
export function summaryOf({ tables }: ComparedPeer, at: number): LastCompared {
  const sum = (of: 'rows' | 'differ' | 'repaired') => tables.reduce((total, table) => total + table[of], 0);
  const left = tables.flatMap(({ table, differ, repaired }): [string, number][] =>
    differ > repaired ? [[table, differ - repaired]] : [],
  );
  return {
    at: new Date(at).toISOString(),
    rows: sum('rows'),
    differ: sum('differ') - sum('repaired'),
    repaired: sum('repaired'),
    tables: Object.fromEntries(left),
  };
}
