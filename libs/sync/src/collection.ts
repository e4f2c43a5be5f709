import type { Random } from './backoff';
import { jittered } from './backoff';
import type { MeshEvents } from './events';
import type { Store } from './ports';
import { Wakeup } from './wakeup';

export interface CollectionParts {
  readonly store: Pick<Store, 'collect'>;
  readonly events: MeshEvents;
  /** Milliseconds between two looks; null: nothing is forgotten. */
  readonly interval: number | null;
  readonly random: Random;
  readonly warn: (message: string) => void;
}

/** Forgets, now and then, the deletions that every member has come past. */
export class Collection {
  readonly #stopping = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(private readonly parts: CollectionParts) {}

  start(): void {
    if (this.parts.interval !== null) this.#running = this.#run(this.parts.interval);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(interval: number): Promise<void> {
    const { signal } = this.#stopping;
    for (;;) {
      await new Wakeup().wait(jittered(interval, this.parts.random), signal);
      if (signal.aborted) return;
      await this.#look();
    }
  }

  async #look(): Promise<void> {
    const { store, events, warn } = this.parts;
    try {
      for (const [table, count] of Object.entries(await store.collect())) {
        if (count > 0) events.emit({ type: 'collected', table, count });
      }
    } catch (error) {
      warn(`Deletions could not be forgotten: ${String(error)}. It is tried again.`);
    }
  }
}
