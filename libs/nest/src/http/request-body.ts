import { Problem } from '@pgmesh/wire';
import type { IncomingMessage } from 'node:http';
import { pipeline, Transform, type TransformCallback } from 'node:stream';
import { createBrotliDecompress, createGunzip } from 'node:zlib';
import { arriving } from './patience';

/** Inflated bytes that are taken whatever their ratio, and the ratio beyond which more of them are a bomb (gzip's own limit is 1032). */
const harmless = 16 * 1024 * 1024;
const likelyRatio = 200;

/** A request's body as it arrives, inflated piece by piece: memory is bounded by the buffers on the way. */
export class RequestBody {
  private readonly iterator: AsyncIterator<Uint8Array>;
  private readonly compressed: boolean;
  /** Whether a piece was given up that is still being read. */
  private late = false;

  /**
   * @param patience how long the next piece may take, in ms
   * @throws Problem `unsupported_media` when it is of another type or encoded in an unknown way
   */
  constructor(
    request: IncomingMessage,
    contentType: string,
    private readonly patience: number,
  ) {
    const type = typeOf(request);
    if (type !== contentType) {
      throw new Problem('unsupported_media', `The body is ${type || 'of no stated type'}. Send ${contentType}.`);
    }
    const encoding = (request.headers['content-encoding'] ?? 'identity').trim().toLowerCase();
    this.compressed = encoding !== 'identity';
    this.iterator = (this.compressed ? inflate(request, encoding) : request)[Symbol.asyncIterator]();
  }

  /** The bytes. Whoever stops reading early leaves the rest for `judge`. @throws Problem `request_timeout` */
  pieces(): AsyncIterable<Uint8Array> {
    const pieces = arriving(this.iterator, this.patience);
    const next = () =>
      pieces.next().catch((error: unknown) => {
        this.late = error instanceof Problem && error.code === 'request_timeout';
        throw error;
      });
    return { [Symbol.asyncIterator]: () => ({ next }) };
  }

  /**
   * Reads on what a refused body still holds and drops it, so that a bomb is called a bomb whatever its first bytes say.
   * @throws Problem `too_large`
   */
  async judge(): Promise<void> {
    if (!this.compressed) return;
    const pieces = this.pieces()[Symbol.asyncIterator]();
    for (;;) if ((await pieces.next()).done) return;
  }

  /** Lets go of the decompressor. One that waits for a piece ends with its connection. */
  async close(): Promise<void> {
    if (!this.late) await this.iterator.return?.();
  }
}

export function typeOf({ headers }: IncomingMessage): string {
  return (headers['content-type'] ?? '').split(';', 1)[0]!.trim().toLowerCase();
}

async function* inflate(request: IncomingMessage, encoding: string): AsyncGenerator<Uint8Array> {
  const inflater = inflaterFor(encoding);
  const arrived = new Counter();
  // The reader below sees the same error.
  pipeline(request, arrived, inflater, () => undefined);
  let inflated = 0;
  try {
    for await (const piece of inflater as AsyncIterable<Buffer>) {
      inflated += piece.length;
      if (inflated > harmless && inflated > likelyRatio * arrived.bytes) {
        throw new Problem(
          'too_large',
          `The body inflates to more than ${likelyRatio} times its size. Send it in smaller pieces.`,
        );
      }
      yield piece;
    }
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem('bad_request', `The body cannot be read as ${encoding}.`, {}, { cause: error });
  }
}

function inflaterFor(encoding: string): Transform {
  if (encoding === 'gzip' || encoding === 'x-gzip') return createGunzip();
  if (encoding === 'br') return createBrotliDecompress();
  throw new Problem('unsupported_media', 'The content encoding is not known here. Send gzip, br, or none.');
}

class Counter extends Transform {
  bytes = 0;

  override _transform(piece: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.bytes += piece.length;
    done(null, piece);
  }
}
