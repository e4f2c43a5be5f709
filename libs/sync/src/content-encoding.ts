import { pipeline, Readable, type Transform } from 'node:stream';
import { constants, createBrotliCompress, createBrotliDecompress, createGunzip, createGzip } from 'node:zlib';
import { encodeFrame, type Frame, Problem } from '@pgmesh/wire';

export type ContentEncoding = 'identity' | 'br' | 'gzip';

/** Windows with fewer rows than this are not worth a compressor. */
const tinyRows = 20;
const chunkBytes = 64 * 1024;

/** Compression costs more than it saves on loopback, and for a handful of rows. */
export function chooseEncoding(
  accepted: string | undefined,
  address: string | undefined,
  rows: number,
): ContentEncoding {
  if (rows < tinyRows || (address !== undefined && isLoopback(address))) return 'identity';
  const offered = (accepted ?? '').split(',').map((one) => one.split(';')[0]!.trim().toLowerCase());
  return offered.includes('br') ? 'br' : offered.includes('gzip') ? 'gzip' : 'identity';
}

/** An IP address or a URL's host name. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '').replace(/^::ffff:/, '');
  return bare === 'localhost' || bare === '::1' || /^127\./.test(bare);
}

/** Frames as bytes, small ones together. */
export async function* encodeBody(frames: AsyncIterable<Frame>): AsyncGenerator<Buffer> {
  let held: Buffer[] = [];
  let size = 0;
  for await (const frame of frames) {
    const bytes = encodeFrame(frame);
    held.push(bytes);
    size += bytes.length;
    if (size < chunkBytes) continue;
    yield Buffer.concat(held);
    held = [];
    size = 0;
  }
  if (size > 0) yield Buffer.concat(held);
}

export function compress(body: AsyncIterable<Buffer>, encoding: ContentEncoding): AsyncIterable<Buffer> {
  if (encoding === 'identity') return body;
  // Quality 1: the higher ones halve the throughput for a few percent of the size.
  const compressor =
    encoding === 'br'
      ? createBrotliCompress({ params: { [constants.BROTLI_PARAM_QUALITY]: 1 } })
      : createGzip({ level: 1 });
  return through(Readable.from(body), compressor);
}

/**
 * The bytes behind a Content-Encoding, in pieces, as they are asked for.
 * @throws Problem `unsupported_media` for an encoding that is none of ours
 */
export function decompress(body: Readable, encoding: string | undefined): AsyncIterable<Uint8Array> {
  switch ((encoding ?? 'identity').trim().toLowerCase()) {
    case '':
    case 'identity':
      return body;
    case 'br':
      return through(body, createBrotliDecompress());
    case 'gzip':
      return through(body, createGunzip());
    default:
      throw new Problem('unsupported_media', 'Windows may be encoded with br or gzip, or not at all.');
  }
}

function through(source: Readable, transform: Transform): Transform {
  // A failure on the way destroys the last stream with it, so that whoever reads the result hears of it.
  return pipeline(source, transform, () => undefined);
}
