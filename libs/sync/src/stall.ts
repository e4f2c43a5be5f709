/** Notices that an exchange makes no progress: a half-open connection gives no other sign (trap 41). */
export class Stall {
  readonly #controller = new AbortController();
  #timer: NodeJS.Timeout;

  /**
   * @param timeout milliseconds without progress that are allowed
   * @param patience milliseconds more that are allowed while waiting for an answer
   */
  constructor(
    private readonly timeout: number,
    private readonly patience: number,
  ) {
    this.#timer = setTimeout(() => this.#give(), timeout + patience);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  end(): void {
    clearTimeout(this.#timer);
  }

  /** A body that is being sent: each piece that is taken is progress. */
  async *watch<T>(body: AsyncIterable<T>): AsyncGenerator<T> {
    for await (const piece of body) {
      this.#progress();
      yield piece;
    }
    this.#progress();
  }

  #progress(): void {
    clearTimeout(this.#timer);
    if (!this.signal.aborted) this.#timer = setTimeout(() => this.#give(), this.timeout + this.patience);
  }

  #give(): void {
    this.#controller.abort(new Error(`nothing for ${this.timeout + this.patience} ms (P2P_TIMEOUT)`));
  }
}
