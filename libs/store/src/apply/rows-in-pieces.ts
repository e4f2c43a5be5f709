const lineFeed = 0x0a;

/**
 * Cuts COPY text at the ends of rows into pieces of at least `sizeOf(0)`, `sizeOf(1)`, … bytes (the last may be smaller). A line
 * feed ends a row and never stands in one: COPY writes those of values as `\\n`. Each piece has to be read to its end before the
 * next is asked for.
 */
export async function* rowsInPieces(
  data: AsyncIterable<Uint8Array>,
  sizeOf: (piece: number) => number,
): AsyncGenerator<AsyncIterable<Uint8Array>> {
  const source = data[Symbol.asyncIterator]();
  let rest: Uint8Array | null = null;
  let ended = false;

  async function* piece(size: number): AsyncGenerator<Uint8Array> {
    for (let length = 0; ;) {
      const bytes: Uint8Array | null = rest ?? (await take());
      rest = null;
      if (bytes === null) return;
      const end = length + bytes.length < size ? -1 : bytes.indexOf(lineFeed, Math.max(0, size - length - 1));
      if (end === -1) {
        length += bytes.length;
        yield bytes;
        continue;
      }
      if (end + 1 < bytes.length) rest = bytes.subarray(end + 1);
      yield bytes.subarray(0, end + 1);
      return;
    }
  }

  async function take(): Promise<Uint8Array | null> {
    if (ended) return null;
    const { value, done } = await source.next();
    if (done) ended = true;
    return done ? null : value;
  }

  for (let i = 0; (rest ??= await take()) !== null; i++) yield piece(sizeOf(i));
}
