import { jittered, type Random } from '../backoff';
import type { MeshEvents } from '../events';
import { failureOf } from '../failure';
import { pause } from './pause';
import type { ComparedPeer, CompareOptions } from './result';

/** A link, as far as it is compared over. */
export interface ComparedLink {
  readonly nodeId: string | null;
  readonly isLive: boolean;
  compare(tables: undefined, options: CompareOptions, signal: AbortSignal): Promise<ComparedPeer>;
}

export interface AntiEntropyOptions {
  /** Milliseconds between two comparisons, each with one peer; 0 leaves them out. P2P_VERIFY_INTERVAL. */
  readonly interval: number;
  /** P2P_VERIFY_REPAIR. */
  readonly repair: boolean;
  readonly random: Random;
  readonly events: MeshEvents;
  readonly links: () => readonly ComparedLink[];
  /** Whether it is this node that begins: of two that reach each other one is enough. */
  readonly begins: (peer: string) => boolean;
}

/** How long to rest between two ranges of keys, as a multiple of the time that one takes: a tenth of the time of one connection goes into a large table. */
const rest = 9;
/**
 * Rows of a table that differ beyond which nothing is repaired unasked: it may be somebody's work that has reached one node and not yet
 * the other, and whoever did it should decide.
 */
const repairMost = 1_000;

/** Compares with one peer after the other, by itself, at a low rate (docs/verify.md). */
export class AntiEntropy {
  readonly #stopping = new AbortController();
  #running: Promise<void> | null = null;
  #last: string | null = null;

  constructor(private readonly options: AntiEntropyOptions) {}

  start(): void {
    if (this.options.interval > 0) this.#running ??= this.#run(this.#stopping.signal);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { interval, random, events, repair } = this.options;
    while (!signal.aborted) {
      await pause(jittered(interval, random), signal).catch(() => undefined);
      const link = this.#next();
      if (signal.aborted || link?.nodeId == null) continue;
      this.#last = link.nodeId;
      const told = (error: { code: string; detail: string }) =>
        events.emit({
          type: 'sync_failed',
          peer: link.nodeId!,
          code: error.code,
          detail: `Comparing rows: ${error.detail}`,
        });
      try {
        const { error } = await link.compare(undefined, { repair, repairMost, rest }, signal);
        if (error) told(error);
      } catch (error) {
        if (!signal.aborted) told(failureOf(error));
      }
    }
  }

  /** The peers take turns, in the order of their names. */
  #next(): ComparedLink | undefined {
    const { links, begins } = this.options;
    const ready = links()
      .filter(({ isLive, nodeId }) => isLive && nodeId !== null && begins(nodeId))
      .sort((a, b) => (a.nodeId! < b.nodeId! ? -1 : 1));
    return ready.find(({ nodeId }) => this.#last === null || nodeId! > this.#last) ?? ready[0];
  }
}
