/**
 * Lets one through at a time. First copies pass here: two copies from peers that hold the same rows bring each row twice,
 * while the second of two in turn finds that nearly all is known already.
 */
export class Turnstile {
  #last: Promise<void> = Promise.resolve();

  /** Waits for its turn, but no longer than so many milliseconds; returns what lets the next one through. */
  async pass(ms: number, signal: AbortSignal): Promise<() => void> {
    const before = this.#last;
    let leave!: () => void;
    this.#last = new Promise((resolve) => (leave = resolve));
    const patience = new Promise<void>((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      signal.addEventListener('abort', end, { once: true });
      void before.then(end);
    });
    await patience;
    return leave;
  }
}
