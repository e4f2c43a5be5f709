/** How long exchanges take here at present: on a busy machine, or over slow links, others deserve more patience too. */
export class Pace {
  #smoothed = 0;

  /** An exchange that worked took so many milliseconds. Slow ones count at once, quick ones little by little. */
  took(ms: number): void {
    this.#smoothed = Math.max(ms, 0.8 * this.#smoothed + 0.2 * ms);
  }

  /**
   * How long to wait for what others are bringing, in milliseconds: they have to be told, to merge and to send, each of them a few times as
   * long as one exchange.
   * @param least on a machine at rest; forty times that is the most
   */
  patience(least: number): number {
    return Math.min(Math.max(least, 4 * this.#smoothed), 40 * least);
  }
}
