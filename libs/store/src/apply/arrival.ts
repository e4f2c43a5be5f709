import { type EndFrame, FrameError, type WindowFrame } from '@pgmesh/wire';
import type { InTouch } from '../positions';
import type { Stage } from './stage';

/** A window on its way in: its head, the stages that have been filled, and how it ended. */
export class Arrival {
  readonly stages: Stage[] = [];
  private outcome: { end: EndFrame } | { error: unknown } | null = null;
  private waiting: (() => void) | null = null;

  constructor(
    readonly head: WindowFrame,
    readonly inTouch: InTouch,
  ) {}

  add(stage: Stage): void {
    this.stages.push(stage);
    this.tell();
  }

  finish(end: EndFrame): void {
    const rows = this.stages.reduce((sum, { count }) => sum + count, 0);
    if (rows !== end.rows) throw new FrameError(`The window announces ${end.rows} rows and has ${rows}`);
    this.outcome = { end };
    this.tell();
  }

  fail(error: unknown): void {
    this.outcome ??= { error };
    this.tell();
  }

  get isComplete(): boolean {
    return this.outcome !== null;
  }

  /** The end, once everything has arrived. Throws what kept it from arriving. */
  async complete(): Promise<EndFrame> {
    while (this.outcome === null) await this.change();
    return this.end();
  }

  /** Settles when there is a large stage, which is worth being merged before the rest has come, or everything is there. */
  async started(): Promise<void> {
    while (this.outcome === null && !this.stages.some(({ literals }) => literals.length === 0)) await this.change();
  }

  /**
   * The stages in the order of their arrival, for a merge that goes on beside it.
   * @throws Late when nothing came for longer than `patience` in all, in milliseconds
   */
  async *beside(patience: number): AsyncGenerator<Stage> {
    let left = patience;
    for (let i = 0; ; i++) {
      while (i === this.stages.length) {
        if (this.outcome !== null) return void this.end();
        const begun = performance.now();
        await this.change(left);
        left -= performance.now() - begun;
        if (left <= 0) throw new Late('The window arrives too slowly to be merged meanwhile');
      }
      yield this.stages[i]!;
    }
  }

  private end(): EndFrame {
    if (this.outcome === null || 'error' in this.outcome) throw this.outcome?.error;
    return this.outcome.end;
  }

  private change(atMost?: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = atMost === undefined ? undefined : setTimeout(resolve, atMost);
      this.waiting = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  private tell(): void {
    this.waiting?.();
    this.waiting = null;
  }
}

/** A merge beside the arrival was given up, so that no row of the user's stays locked while a slow network delivers. */
export class Late extends Error {}
