/** A copy that has its turn. */
export interface Turn {
  /** Rows come, and more are to follow. */
  bringsRows(): void;
  /** Lets the next one through. */
  leave(): void;
}

/**
 * Lets one first copy through at a time: two copies from peers that hold the same rows bring each row twice, while the second
 * of two in turn finds that nearly all is known already.
 */
export class Turnstile {
  #last: Promise<void> = Promise.resolve();
  /** Copies that bring rows: the peer that they come from, and their end. */
  readonly #bulk = new Map<string, Promise<void>>();

  /** Waits for a turn, but no longer than so many milliseconds. */
  async pass(peer: string, ms: number, signal: AbortSignal): Promise<Turn> {
    const before = this.#last;
    let end!: () => void;
    const ended = new Promise<void>((resolve) => (end = resolve));
    this.#last = ended;
    await within(before, ms, signal);
    return {
      bringsRows: () => void this.#bulk.set(peer, ended),
      leave: () => {
        this.#bulk.delete(peer);
        end();
      },
    };
  }

  /**
   * Waits until nothing is copied here in bulk, but no longer than so many milliseconds. Who began to copy from us meanwhile
   * would run behind our own copy, and fetch from us what it can have from where we do. Only those wait who have not begun,
   * and they hold up nobody, so that no circle of waiting can close.
   */
  async settled(asker: string, ms: number, signal: AbortSignal): Promise<void> {
    const others = [...this.#bulk].filter(([peer]) => peer !== asker).map(([, ended]) => ended);
    if (others.length > 0) await within(Promise.all(others), ms, signal);
  }
}

/** Waits until it is there, the time is over, or the signal has fired. */
function within(awaited: Promise<unknown>, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, { once: true });
    void awaited.then(end);
  });
}
