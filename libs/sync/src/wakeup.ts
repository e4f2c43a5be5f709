/** A sleeper that others wake. Waking before the sleep counts, and any number of wakings count as one. */
export class Wakeup {
  #pending = false;
  #resolve: ((woken: boolean) => void) | null = null;

  wake(): void {
    if (this.#resolve) this.#resolve(true);
    else this.#pending = true;
  }

  /** Whether there was a waking that nobody has slept for yet. */
  get pending(): boolean {
    return this.#pending;
  }

  /** Forgets a waking that nobody has slept for yet. */
  clear(): void {
    this.#pending = false;
  }

  /** Sleeps until woken (true), or until so many milliseconds have passed or the signal has fired (false). One sleeper at a time. */
  wait(ms: number | null, signal: AbortSignal): Promise<boolean> {
    if (this.#pending || signal.aborted) {
      const woken = this.#pending;
      this.#pending = false;
      return Promise.resolve(woken);
    }
    return new Promise((resolve) => {
      const end = (woken: boolean): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', aborted);
        this.#resolve = null;
        resolve(woken);
      };
      const aborted = (): void => end(false);
      const timer = ms === null ? undefined : setTimeout(() => end(false), ms);
      signal.addEventListener('abort', aborted, { once: true });
      this.#resolve = end;
    });
  }
}
