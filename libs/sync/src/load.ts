/** Milliseconds after which who asked for a piece of a copy is taken to have stopped. */
const recent = 5_000;
/** What a node that is being filled itself adds: others have more. */
const filling = 1_000;

/** How much a node has to do, for those who choose whom to copy from: first copies that are read here, and windows that are merged or read just now. */
export class Load {
  readonly #readers = new Map<string, number>();
  #windows = 0;

  constructor(
    private readonly clock: () => number,
    /** Whether rows of a first copy are coming in. */
    private readonly isFilled: () => boolean,
  ) {}

  /** A piece of a first copy was asked for. */
  copied(reader: string): void {
    this.#readers.set(reader, this.clock());
  }

  /** A window is merged or read, until that is called which this returns. */
  begin(): () => void {
    this.#windows += 1;
    return () => void (this.#windows -= 1);
  }

  get now(): number {
    const since = this.clock() - recent;
    for (const [reader, last] of this.#readers) if (last < since) this.#readers.delete(reader);
    return this.#readers.size + this.#windows + (this.isFilled() ? filling : 0);
  }
}
