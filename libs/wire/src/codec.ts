import { Packr } from 'msgpackr';
import type { Frame } from './frame';
import { frameFault } from './frame-shape';

const packr = new Packr({ useRecords: false, structuredClone: false, mapsAsObjects: true });

/** The largest frame that is accepted, in bytes: `rows` frames stay below 4 MiB, COPY data comes in pieces of about 64 KiB. */
export const maxFrameBytes = 8 * 1024 * 1024;

/** Why a stream of frames could not be read. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
}

/** A frame announces more bytes than one may have. */
export class FrameTooLarge extends FrameError {}

/** A frame as bytes: its length as 32 bits, big-endian, then msgpack. */
export function encodeFrame(frame: Frame): Buffer {
  const body = packr.pack(frame);
  const bytes = Buffer.allocUnsafe(4 + body.length);
  bytes.writeUInt32BE(body.length, 0);
  bytes.set(body, 4);
  return bytes;
}

/**
 * Frames out of pieces of bytes, cut anywhere. Memory is bounded by one frame, however small the pieces: a frame that lies
 * within a piece is read in place, any other is put together in one buffer of its announced length.
 * @throws FrameError when a frame is too large, is not one, or the stream ends inside one.
 */
export async function* decodeFrames(pieces: AsyncIterable<Uint8Array>, limit = maxFrameBytes): AsyncGenerator<Frame> {
  let wanted: 'length' | 'body' = 'length';
  let size = lengthBytes;
  let partial: Buffer | null = null;
  let filled = 0;
  for await (const piece of pieces) {
    let rest = Buffer.from(piece.buffer, piece.byteOffset, piece.length);
    for (;;) {
      let whole: Buffer;
      if (partial === null && rest.length >= size) {
        whole = rest.subarray(0, size);
        rest = rest.subarray(size);
      } else {
        partial ??= Buffer.allocUnsafeSlow(size);
        const copied = rest.copy(partial, filled);
        filled += copied;
        rest = rest.subarray(copied);
        if (filled < size) break;
        [whole, partial, filled] = [partial, null, 0];
      }
      if (wanted === 'length') [wanted, size] = ['body', readLength(whole, limit)];
      else {
        yield decodeBody(whole);
        [wanted, size] = ['length', lengthBytes];
      }
    }
  }
  if (wanted === 'body' || filled > 0) throw new FrameError('The stream of frames ended inside a frame');
}

const lengthBytes = 4;

function readLength(bytes: Buffer, limit: number): number {
  const length = bytes.readUInt32BE(0);
  if (length > limit) throw new FrameTooLarge(`A frame of ${length} bytes is larger than the ${limit} allowed`);
  return length;
}

function decodeBody(bytes: Buffer): Frame {
  let value: unknown;
  try {
    value = packr.unpack(bytes);
  } catch (cause) {
    throw new FrameError('A frame is not msgpack', { cause });
  }
  const fault = frameFault(value);
  if (fault !== null) throw new FrameError(fault);
  return value as Frame;
}
