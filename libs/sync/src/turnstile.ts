/** A copy that has its turn. */
export interface Turn {
  /** Rows come, and more are to follow. */
  bringsRows(): void;
  /** Lets the next one through. */
  leave(): void;
}

/** A copy that waits for its turn. */
interface Waiting {
  /** How busy its source is; of several the least busy is next. */
  readonly load: number;
  readonly admit: () => void;
}

/**
 * Lets one first copy through at a time: two copies from peers that hold the same rows bring each row twice, while the second
 * of two in turn finds that nearly all is known already. The first is from the peer that has the least to do.
 */
export class Turnstile {
  readonly #waiting = new Set<Waiting>();
  /** Counts how often rows have come. */
  #progress = 0;
  /** More than one where some would not wait any longer. */
  #inside = 0;
  #opening: NodeJS.Timeout | null = null;
  /** Copies that bring rows: the peer that they come from, and their end. */
  readonly #bulk = new Map<string, Promise<void>>();

  /** Whether rows are being copied here in bulk. */
  get bringsRows(): boolean {
    return this.#bulk.size > 0;
  }

  /**
   * Waits for a turn, but no longer than `ms` in which no rows come to those who are before.
   * @param gather milliseconds that others have to come, when nobody is before this one
   */
  async pass(
    peer: string,
    { load, ms, gather }: { readonly load: number; readonly ms: number; readonly gather: number },
    signal: AbortSignal,
  ): Promise<Turn> {
    await this.#turn(load, ms, gather, signal);
    let end!: () => void;
    const ended = new Promise<void>((resolve) => (end = resolve));
    return {
      bringsRows: () => {
        this.#progress += 1;
        this.#bulk.set(peer, ended);
      },
      leave: () => {
        this.#bulk.delete(peer);
        end();
        this.#inside -= 1;
        if (this.#inside === 0) this.#admit();
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

  async #turn(load: number, ms: number, gather: number, signal: AbortSignal): Promise<void> {
    let waiting!: Waiting;
    const admitted = new Promise<void>((resolve) => (waiting = { load, admit: resolve }));
    this.#waiting.add(waiting);
    if (this.#inside === 0) this.#opening ??= setTimeout(() => this.#admit(), gather).unref();
    let before;
    do {
      before = this.#progress;
      await within(admitted, ms, signal);
    } while (this.#waiting.has(waiting) && this.#progress > before && !signal.aborted);
    // Who would not wait any longer is inside, too.
    if (this.#waiting.delete(waiting)) this.#inside += 1;
  }

  #admit(): void {
    if (this.#opening) clearTimeout(this.#opening);
    this.#opening = null;
    if (this.#inside > 0) return;
    const [first, ...others] = this.#waiting;
    if (!first) return;
    const next = others.reduce((least, one) => (one.load < least.load ? one : least), first);
    this.#waiting.delete(next);
    this.#inside += 1;
    next.admit();
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
