import { differ, remedyOf } from '@pgmesh/core';
import { Problem, protocolVersion } from '@pgmesh/wire';
import { Incoming } from '../incoming';
import type { LinkContext } from '../link-context';
import { Outgoing } from '../outgoing';
import type { Comparison } from '../ports';
import type { Key } from './differing-keys';
import type { HeldPair, OtherNode, RowCheck } from './row-check';

/** Rows that still differ when all was done, and why, where somebody said so. */
export type Left = ReadonlyMap<Key, string | null>;

/** Milliseconds for which our rows may stay locked while the other node does its part. */
const lockedAtMost = 2_000;

/**
 * Makes two nodes hold rows alike, by an ordinary merge in both directions. Before it, each side gives a version to what its table has and no
 * version tells of (libs/core: remedyOf): nothing that somebody wrote is covered unseen.
 */
export class Repair {
  constructor(
    private readonly context: Pick<LinkContext, 'store' | 'client' | 'journal' | 'instances' | 'clock'>,
    private readonly other: OtherNode,
    private readonly comparison: Comparison,
    private readonly check: RowCheck,
  ) {}

  async run(keys: readonly Key[], signal: AbortSignal): Promise<Left> {
    const { pairs } = await this.check.look(keys, null, signal);
    const open = pairs.filter(({ ours, theirs }) => differ(ours, theirs));
    if (open.length === 0) return new Map();
    try {
      await this.versions(open, signal);
      await this.bring(open, signal);
      await this.fetch(open, signal);
    } catch (error) {
      if (!(error instanceof Problem) || signal.aborted) throw error;
      return this.apart(open, error, signal);
    }
    const after = await this.check.look(
      open.map(({ key }) => key),
      null,
      signal,
    );
    return new Map(after.pairs.filter(({ ours, theirs }) => differ(ours, theirs)).map(({ key }) => [key, null]));
  }

  /** One row that is refused keeps none of the others from being repaired. */
  private async apart(open: readonly HeldPair[], { message }: Problem, signal: AbortSignal): Promise<Left> {
    if (open.length === 1) return new Map([[open[0]!.key, message]]);
    const half = open.length >> 1;
    const left = new Map<Key, string | null>();
    for (const some of [open.slice(0, half), open.slice(half)]) {
      const keys = some.map(({ key }) => key);
      for (const [key, detail] of await this.run(keys, signal)) left.set(key, detail);
    }
    return left;
  }

  /**
   * While the other node gives its rows versions, ours are locked: a merge of them meanwhile would put them in place of our rows before these have
   * versions of their own.
   */
  private async versions(pairs: readonly HeldPair[], signal: AbortSignal): Promise<void> {
    const { store, client } = this.context;
    const { us, them } = this.check.sides;
    const remedies = pairs.flatMap(({ key, ours, theirs }) => {
      const remedy = remedyOf(ours, theirs, us, them);
      return remedy === 'none' ? [] : [{ key, digest: ours.digest, remedy }];
    });
    const isForThem = pairs.some(({ ours, theirs }) => remedyOf(theirs, ours, them, us) !== 'none');
    const request = {
      ...this.asked(),
      origin: us.origin,
      rows: pairs.map(({ ours, theirs }) => ({ digest: theirs.digest, held: ours as Wire<typeof ours> })),
    };
    await store.digests.settle(this.comparison, remedies, async () => {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(lockedAtMost)]);
      if (isForThem) await client.settle(this.other.url, request, remedies.length > 0 ? limit : signal);
    });
  }

  private async bring(pairs: readonly HeldPair[], signal: AbortSignal): Promise<void> {
    const { store, client, journal, clock } = this.context;
    const { nodeId, epoch, url } = this.other;
    const started = clock();
    const window = await store.digests.open(this.comparison.table, keysOf(pairs));
    try {
      const outgoing = new Outgoing(window.frames());
      const answer = await client.push(url, { nodeId, epoch }, outgoing, signal);
      await journal.sent(nodeId, window.head, outgoing, answer, started);
    } finally {
      await window.close();
    }
  }

  private async fetch(pairs: readonly HeldPair[], signal: AbortSignal): Promise<void> {
    const { store, client, journal, instances, clock } = this.context;
    const started = clock();
    const { protocol, node_id, table } = this.asked();
    const keys = keysOf(pairs).map((key) => [...key]);
    const frames = await client.rows(this.other.url, { protocol, node_id, table, keys }, signal);
    const incoming = new Incoming(frames, store.identity, ({ node }) => instances.assertOne(node));
    const applied = await store.inbox.apply(incoming);
    if (applied.outcome === 'gap') throw new Problem('gap', `We do not follow ${table} of ${this.other.nodeId} yet.`);
    await journal.received(applied, 'pull', started);
  }

  private asked() {
    const { table, columns, settled } = this.comparison;
    const { nodeId } = this.context.store.identity;
    return { protocol: protocolVersion, node_id: nodeId, table, columns: [...columns], settled };
  }
}

/** As JSON schemas have it: nothing in it is read-only. */
type Wire<T> = T extends readonly (infer Item)[]
  ? Wire<Item>[]
  : T extends object
    ? { -readonly [Name in keyof T]: Wire<T[Name]> }
    : T;

const keysOf = (pairs: readonly HeldPair[]): Key[] => pairs.map(({ key }) => key);
