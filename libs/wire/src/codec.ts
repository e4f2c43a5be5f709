import { Packr } from 'msgpackr';
import type { Frame } from './frame';

const packr = new Packr({ useRecords: false, structuredClone: false, mapsAsObjects: true });

/** The largest frame that is accepted, in bytes: `rows` frames stay below 4 MiB, COPY data comes in pieces of about 64 KiB. */
export const maxFrameBytes = 8 * 1024 * 1024;

/** Why a stream of frames could not be read. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
}

/** A frame as bytes: its length as 32 bits, big-endian, then msgpack. */
export function encodeFrame(frame: Frame): Buffer {
  const body = packr.pack(frame);
  const bytes = Buffer.allocUnsafe(4 + body.length);
  bytes.writeUInt32BE(body.length, 0);
  bytes.set(body, 4);
  return bytes;
}

/**
 * Frames out of pieces of bytes, cut anywhere. Memory is bounded by one frame.
 * @throws FrameError when a frame is too large, is not one, or the stream ends inside one.
 */
export async function* decodeFrames(pieces: AsyncIterable<Uint8Array>, limit = maxFrameBytes): AsyncGenerator<Frame> {
  let held: Uint8Array[] = [];
  let size = 0;
  let wanted = 4;
  let length: number | null = null;
  for await (const piece of pieces) {
    held.push(piece);
    size += piece.length;
    if (size < wanted) continue;
    let bytes = held.length === 1 ? Buffer.from(piece.buffer, piece.byteOffset, piece.length) : Buffer.concat(held);
    while (bytes.length >= wanted) {
      if (length === null) {
        length = bytes.readUInt32BE(0);
        if (length > limit) throw new FrameError(`A frame of ${length} bytes is larger than the ${limit} allowed`);
        bytes = bytes.subarray(4);
        wanted = length;
      } else {
        yield decodeBody(bytes.subarray(0, length));
        bytes = bytes.subarray(length);
        length = null;
        wanted = 4;
      }
    }
    held = bytes.length > 0 ? [bytes] : [];
    size = bytes.length;
  }
  if (size > 0 || length !== null) throw new FrameError('The stream of frames ended inside a frame');
}

const types = new Set(['window', 'rows', 'copy', 'data', 'copied', 'end']);

function decodeBody(bytes: Buffer): Frame {
  let value: unknown;
  try {
    value = packr.unpack(bytes);
  } catch (cause) {
    throw new FrameError('A frame is not msgpack', { cause });
  }
  if (typeof value !== 'object' || value === null || !types.has((value as { type: string }).type)) {
    throw new FrameError('A frame is of no known type');
  }
  return value as Frame;
}
