import { differ, feedName, type HeldRow, parseSnapshot } from '@pgmesh/core';
import {
  fromWireKnowledge,
  fromWirePosition,
  fromWireSeen,
  type HeldAnswer,
  protocolVersion,
  toWireKnowledge,
  toWirePosition,
  toWireSeen,
} from '@pgmesh/wire';
import type { LinkContext } from '../link-context';
import type { Comparison } from '../ports';
import type { Key } from './differing-keys';
import { hasRead } from './has-read';
import { pause } from './pause';

/** The node at the other end of a comparison. */
export interface OtherNode {
  readonly nodeId: string;
  readonly epoch: string;
  readonly url: string;
}

/** A row as both hold it. */
export interface HeldPair {
  readonly key: Key;
  readonly ours: HeldRow;
  readonly theirs: HeldRow;
}

/** One look at some rows on both sides. */
export interface Look {
  readonly pairs: readonly HeldPair[];
  /** The snapshots in which they were read. */
  readonly snapshots: { readonly ours: string; readonly theirs: string };
  /** Whether both had read, before this look, all that was there at the look before. */
  readonly caughtUp: boolean;
}

/** Milliseconds between two looks at rows that may be on their way, growing. */
const firstPause = 50;
const longestPause = 1_000;

/** Asks the other node how it holds rows, and tells it where we stand. */
export async function askHeld(
  { store, client, links }: Pick<LinkContext, 'store' | 'client' | 'links'>,
  { nodeId, url }: OtherNode,
  { table, columns, settled }: Omit<Comparison, 'byIndex'>,
  keys: readonly Key[],
  since: string | null,
  signal: AbortSignal,
): Promise<HeldAnswer> {
  const { inbox } = store;
  const [position, known, seen] = [await inbox.position(nodeId), await inbox.knowledge(), await inbox.seen()];
  const asked = {
    protocol: protocolVersion,
    node_id: store.identity.nodeId,
    table,
    columns: [...columns],
    settled,
    keys: keys.map((key) => [...key]),
    since,
    position: toWirePosition(position),
    knowledge: toWireKnowledge(known),
    seen: toWireSeen(seen),
    links: [...links()],
  };
  return client.held(url, asked, signal);
}

/** Looks at single rows on both sides, until it is known which of them differ although nothing is on its way. */
export class RowCheck {
  constructor(
    private readonly context: Pick<LinkContext, 'store' | 'client' | 'links' | 'clock'>,
    private readonly other: OtherNode,
    private readonly comparison: Comparison,
    /** Lets the exchange look at once whether there is something, in both directions. */
    private readonly nudge: () => void,
    /** Milliseconds after which rows that are still being written are let go. */
    private readonly patience: number,
  ) {}

  async look(keys: readonly Key[], before: Look | null, signal: AbortSignal): Promise<Look> {
    const { store } = this.context;
    const { nodeId, epoch } = this.other;
    const { table } = this.comparison;
    const answer = await askHeld(
      this.context,
      this.other,
      this.comparison,
      keys,
      before?.snapshots.theirs ?? null,
      signal,
    );
    const told = {
      nodeId,
      epoch,
      position: fromWirePosition(answer.position),
      knowledge: fromWireKnowledge(answer.knowledge),
      seen: fromWireSeen(answer.seen),
      links: answer.links,
    };
    const since = before && parseSnapshot(before.snapshots.ours);
    const theyRead = since !== null && (await hasRead(store, told, table, since));
    const held = await store.digests.held(this.comparison, keys);
    return {
      pairs: keys.map((key, i) => ({ key, ours: held.rows[i]!, theirs: answer.rows[i]! })),
      snapshots: { ours: held.snapshot, theirs: answer.snapshot },
      caughtUp: theyRead && answer.read,
    };
  }

  /**
   * Of rows that differed a moment ago, those that still do when both sides have read all that was there then, and have not written them since;
   * and those of which that could not be said in time.
   */
  async confirm(
    keys: readonly Key[],
    signal: AbortSignal,
  ): Promise<{ readonly differing: HeldPair[]; readonly unsettled: Key[] }> {
    const { clock } = this.context;
    const end = clock() + this.patience;
    const differing: HeldPair[] = [];
    let before = await this.look(keys, null, signal);
    let wait = firstPause;
    for (;;) {
      const open = before.pairs.filter(({ ours, theirs }) => differ(ours, theirs));
      if (open.length === 0) return { differing, unsettled: [] };
      if (clock() > end) return { differing, unsettled: open.map(({ key }) => key) };
      this.nudge();
      await pause(wait, signal);
      wait = Math.min(wait * 2, longestPause);
      const look = await this.look(
        open.map(({ key }) => key),
        before,
        signal,
      );
      const isStill = (pair: HeldPair, i: number) =>
        look.caughtUp && pair.ours.digest === open[i]!.ours.digest && pair.theirs.digest === open[i]!.theirs.digest;
      differing.push(...look.pairs.filter(isStill));
      before = { ...look, pairs: look.pairs.filter((pair, i) => !isStill(pair, i)) };
    }
  }

  /** As both introduce themselves to the rule of what is done. */
  get sides() {
    const { nodeId, epoch } = this.context.store.identity;
    return {
      us: { nodeId, origin: feedName(nodeId, epoch) },
      them: { nodeId: this.other.nodeId, origin: feedName(this.other.nodeId, this.other.epoch) },
    };
  }
}
