import { type HeldRow, isNothing, isSound } from '@pgmesh/core';
import { type DigestRequest, mostRanges, Problem, protocolVersion } from '@pgmesh/wire';
import type { LinkContext } from '../link-context';
import type { Comparison } from '../ports';
import { differingKeys, type DigestSide, inGroups, type Key } from './differing-keys';
import { pause } from './pause';
import { Repair } from './repair';
import type { CompareOptions, ComparedTable, DifferingRow } from './result';
import { type HeldPair, type OtherNode, RowCheck } from './row-check';

/** Rows of a range that is digested at once: read in some tenths of a second, so that no snapshot is held for long. */
const range = 65_536;
/** Without an index each range costs a look at all keys. */
const rangeByText = 1_048_576;
/** Rows that are looked at, and repaired, at a time. */
const batch = 200;
/** Bytes of their keys. */
const batchBytes = 200_000;
const toldKeys = 100;
/** Milliseconds for which rows are looked at again that are written all the time, or are long on their way. */
const patience = 30_000;

interface Tally {
  rows: number;
  differ: number;
  repaired: number;
  unsettled: number;
  keys: DifferingRow[];
}

/** Compares one table with a peer's from its first key to its last, and repairs what differs where that is asked for. */
export class TableComparison {
  private readonly tally: Tally = { rows: 0, differ: 0, repaired: 0, unsettled: 0, keys: [] };

  constructor(
    private readonly context: LinkContext,
    private readonly other: OtherNode,
    private readonly columns: readonly string[],
    private readonly nudge: () => void,
    private readonly options: CompareOptions,
  ) {}

  async run(table: string, signal: AbortSignal): Promise<ComparedTable> {
    const { digests } = this.context.store;
    const [ownOrder, settled] = [await digests.order(table), await digests.settled(table)];
    const order = ownOrder !== null && (await this.isTheirs(table, ownOrder, signal)) ? ownOrder : null;
    const comparison = { table, columns: this.columns, settled, byIndex: order !== null };
    const [ours, theirs] = [this.ourSide(comparison), this.theirSide(comparison, order, signal)];
    let found: Key[] = [];
    let from: Key | null = null;
    do {
      const begun = performance.now();
      const to = await digests.endOf(comparison, from, order === null ? rangeByText : range);
      const { rows, keys } = await differingKeys(ours, theirs, { from, to });
      this.tally.rows += rows;
      found.push(...keys);
      this.options.progress?.(table, this.tally.rows);
      if (found.length >= batch || to === null) {
        for (const some of inBatches(found)) await this.lookAt(comparison, some, signal);
        found = [];
      }
      if (to !== null) await this.rest(performance.now() - begun, signal);
      from = to;
    } while (from !== null);
    return { table, state: 'compared', detail: null, ...this.tally };
  }

  /** Rows that differed when they were read, one side after the other. */
  private async lookAt(comparison: Comparison, keys: readonly Key[], signal: AbortSignal): Promise<void> {
    const { tally, options } = this;
    const check = new RowCheck(this.context, this.other, comparison, this.nudge, this.options.patience ?? patience);
    const { differing, unsettled } = await check.confirm(keys, signal);
    tally.unsettled += unsettled.length;
    tally.differ += differing.length;
    const mayRepair = options.repair === true && tally.differ <= (options.repairMost ?? Infinity);
    const repair = new Repair(this.context, this.other, comparison, check);
    const tried = mayRepair && differing.length > 0;
    if (tried) await options.beforeRepair?.(comparison.table, differing);
    const left = tried
      ? await repair.run(
          differing.map(({ key }) => key),
          signal,
        )
      : null;
    const isLeft = (key: Key) => left === null || left.has(key);
    tally.repaired += differing.filter(({ key }) => !isLeft(key)).length;
    for (const pair of differing.slice(0, toldKeys - tally.keys.length)) {
      const detail = left?.has(pair.key) ? (left.get(pair.key) ?? whyLeft(pair)) : null;
      tally.keys.push({ key: pair.key, how: howOf(pair), repaired: !isLeft(pair.key), detail });
    }
  }

  private ourSide(comparison: Comparison): DigestSide {
    return { read: (ranges) => this.context.store.digests.read(comparison, ranges) };
  }

  private theirSide({ table, settled }: Comparison, order: string | null, signal: AbortSignal): DigestSide {
    return {
      read: async (ranges) => {
        const read = [];
        for (const some of inGroups(ranges, mostRanges)) {
          const asked = some as DigestRequest['ranges'];
          const answer = await this.ask({ table, settled, order, ranges: asked }, signal);
          if (answer.order !== order || answer.ranges.length !== some.length) {
            throw new Problem(
              'busy',
              `The order of the keys of ${table} has just changed on ${this.other.nodeId}. Compare again.`,
            );
          }
          read.push(...answer.ranges);
        }
        return read;
      },
    };
  }

  private async isTheirs(table: string, order: string, signal: AbortSignal): Promise<boolean> {
    return (await this.ask({ table, settled: false, order, ranges: [] }, signal)).order === order;
  }

  private ask(asked: Pick<DigestRequest, 'table' | 'settled' | 'order' | 'ranges'>, signal: AbortSignal) {
    const { store, client } = this.context;
    const asker = { protocol: protocolVersion, node_id: store.identity.nodeId, columns: [...this.columns] };
    return client.digest(this.other.url, { ...asker, ...asked }, signal);
  }

  private async rest(worked: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { rest = 0 } = this.options;
    if (rest > 0) await pause(worked * rest, signal);
  }
}

function howOf({ ours, theirs }: HeldPair): DifferingRow['how'] {
  if (isMissing(ours) && !isMissing(theirs)) return 'missing_here';
  if (isMissing(theirs) && !isMissing(ours)) return 'missing_there';
  const [a, b] = [ours.version, theirs.version];
  if (a === null || b === null || a.names !== b.names) return 'version';
  if (a.deleted !== b.deleted || a.stamp !== b.stamp || a.origin !== b.origin || a.composed !== b.composed)
    return 'standing';
  return ours.value === theirs.value ? 'version' : a.composed ? 'standing' : 'value';
}

/** Also where it was deleted past capture, so that its version does not know. */
const isMissing = (row: HeldRow): boolean => isNothing(row) || (row.value === null && !isSound(row));

function whyLeft(pair: HeldPair): string {
  return howOf(pair) === 'standing'
    ? 'Both have the same versions, and show them otherwise: the rules (GET /p2p/rules) or the constraints of the table differ.'
    : 'Both still hold it otherwise after they have merged. A write of the row on either node replaces it.';
}

function* inBatches(keys: readonly Key[]): Generator<Key[]> {
  let some: Key[] = [];
  let bytes = 0;
  for (const key of keys) {
    const size = key.reduce((sum, part) => sum + 4 * part.length, 0);
    if (some.length > 0 && (some.length === batch || bytes + size > batchBytes)) {
      yield some;
      [some, bytes] = [[], 0];
    }
    some.push(key);
    bytes += size;
  }
  if (some.length > 0) yield some;
}
