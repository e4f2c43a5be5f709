import { Readable } from 'node:stream';
import { decodeFrames, type Frame } from '@pgmesh/wire';
import { chooseEncoding, compress, type ContentEncoding, decompress, encodeBody } from './content-encoding';

const frames: Frame[] = [
  ...Array.from({ length: 2_000 }, (_, i): Frame => ({ type: 'data', bytes: Buffer.from(`row ${i}\n`) })),
  { type: 'end', rows: 2_000 },
];

async function* all(): AsyncGenerator<Frame> {
  yield* frames;
}

async function read(bytes: AsyncIterable<Uint8Array>): Promise<Frame[]> {
  const read: Frame[] = [];
  for await (const frame of decodeFrames(bytes)) read.push(frame);
  return read;
}

describe('a body of frames', () => {
  it.each<ContentEncoding>(['identity', 'br', 'gzip'])('comes out as it went in, encoded with %s', async (encoding) => {
    const body = Readable.from(compress(encodeBody(all()), encoding));
    const [first, last] = [frames[0], frames.at(-1)];
    const got = await read(decompress(body, encoding));
    expect(got.length).toBe(frames.length);
    expect([got[0], got.at(-1)]).toEqual([first, last]);
  });

  it('fails for its reader when it breaks off, and when it is not what it says', async () => {
    const broken = (async function* (): AsyncGenerator<Buffer> {
      yield Buffer.from('x');
      throw new Error('the database went away');
    })();
    await expect(read(compress(broken, 'br'))).rejects.toThrow('the database went away');
    await expect(read(decompress(Readable.from([Buffer.from('plain')]), 'gzip'))).rejects.toThrow();
    expect(() => decompress(Readable.from([]), 'compress')).toThrow(/br or gzip/);
  });

  it('is not compressed on loopback, nor for a handful of rows', () => {
    expect(chooseEncoding('br, gzip', '::ffff:127.0.0.1', 10_000)).toBe('identity');
    expect(chooseEncoding('br, gzip', '192.0.2.1', 3)).toBe('identity');
    expect(chooseEncoding('gzip;q=0.5, BR', '192.0.2.1', 10_000)).toBe('br');
    expect(chooseEncoding(undefined, '192.0.2.1', 10_000)).toBe('identity');
  });
});
