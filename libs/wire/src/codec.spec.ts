import * as fc from 'fast-check';
import { Packr } from 'msgpackr';
import { decodeFrames, encodeFrame, FrameError } from './codec';
import type { Frame } from './frame';
import { protocolVersion } from './protocol';

const text = fc.string({ unit: 'binary', maxLength: 12 });
const texts = fc.array(text, { maxLength: 4 });
const count = fc.maxSafeNat();
const point = fc.option(fc.record({ table: text, after: fc.option(texts) }));
const named = fc.constantFrom('node1', 'constructor', 'toString');
const known = fc.dictionary(named, fc.record({ cursor: text, tables: texts }), { noNullPrototype: true });
const marks = fc.array(fc.record({ node: text, at: text }), { maxLength: 3 });
const frame: fc.Arbitrary<Frame> = fc.oneof(
  fc.record({
    type: fc.constant('window' as const),
    protocol: fc.constant(protocolVersion),
    node: text,
    epoch: text,
    kind: fc.constantFrom('window' as const, 'copy' as const),
    from: text,
    to: text,
    more: fc.boolean(),
    tables: texts,
    at: point,
    next: point,
    knowledge: known,
    guards: fc.dictionary(named, fc.array(marks, { maxLength: 3 }), { noNullPrototype: true }),
    whole: texts,
  }),
  fc.record({
    type: fc.constant('rows' as const),
    table: text,
    columns: texts,
    count,
    deleted: count,
    literals: texts,
  }),
  fc.record({ type: fc.constant('copy' as const), table: text, columns: texts }),
  fc.record({ type: fc.constant('data' as const), bytes: fc.uint8Array({ maxLength: 300 }) }),
  fc.record({ type: fc.constant('copied' as const), table: text, count }),
  fc.record({
    type: fc.constant('end' as const),
    rows: count,
  }),
);
const emptyWindow: Frame = {
  type: 'window',
  protocol: protocolVersion,
  node: 'a',
  epoch: 'e',
  kind: 'window',
  from: '0:',
  to: '9:',
  more: false,
  tables: [],
  at: null,
  next: null,
  knowledge: {},
  guards: {},
  whole: [],
};
const frames = fc.array(frame, { maxLength: 6 });

/** Bytes as a stream, cut into pieces of these sizes over and over. */

async function* cut(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  for (let start = 0, i = 0; start < bytes.length; i++) {
    const size = sizes.length === 0 ? bytes.length : sizes[i % sizes.length]!;
    yield bytes.subarray(start, start + size);
    start += size;
  }
}

async function read(bytes: Uint8Array, sizes: readonly number[] = [], limit?: number): Promise<Frame[]> {
  const read: Frame[] = [];
  for await (const one of decodeFrames(cut(bytes, sizes), limit)) read.push(one);
  return read;
}

/** As plain values: bytes as a list of numbers, so that a Buffer equals a Uint8Array of the same content. */
const plain = (list: readonly Frame[]) =>
  list.map((one) => (one.type === 'data' ? { ...one, bytes: [...one.bytes] } : one));
const framed = (body: Uint8Array) => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([length, body]);
};
const packed = (value: unknown) => framed(new Packr({ useRecords: false }).pack(value));

describe('A stream of frames', () => {
  it('is read as it was written, wherever it was cut', async () => {
    await fc.assert(
      fc.asyncProperty(frames, fc.array(fc.nat(40), { maxLength: 5 }), async (list, sizes) => {
        const cuts = sizes.some((size) => size > 0) ? sizes : [];
        const bytes = Buffer.concat(list.map(encodeFrame));
        expect(plain(await read(bytes, cuts))).toEqual(plain(list));
        expect(plain(await read(bytes, [1]))).toEqual(plain(list));
      }),
      { numRuns: 200 },
    );
  });

  it('that was cut off gives the whole frames, then the error that it ended inside one', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { minLength: 1, maxLength: 4 }), fc.nat(), async (list, at) => {
        const parts = list.map(encodeFrame);
        const bytes = Buffer.concat(parts);
        const kept = at % bytes.length;
        let end = 0;
        const whole = parts.filter((part) => (end += part.length) <= kept);
        const got: Frame[] = [];
        const reading = (async () => {
          for await (const one of decodeFrames(cut(bytes.subarray(0, kept), [7]))) got.push(one);
        })();
        if (kept === Buffer.concat(whole).length) await reading;
        else await expect(reading).rejects.toThrow(new FrameError('The stream of frames ended inside a frame'));
        expect(plain(got)).toEqual(plain(list.slice(0, whole.length)));
      }),
    );
  });

  it('of whatever bytes gives frames or a FrameError', async () => {
    const garbage = fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.uint8Array({ maxLength: 60 }).map(framed));
    await fc.assert(
      fc.asyncProperty(garbage, async (bytes) => {
        const outcome = await read(bytes, [5]).catch((error: unknown) => error);
        expect(Array.isArray(outcome) || outcome instanceof FrameError).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });

  it('of frames with bits changed gives frames or a FrameError', async () => {
    await fc.assert(
      fc.asyncProperty(frame, fc.nat(), fc.integer({ min: 1, max: 255 }), async (one, at, bits) => {
        const bytes = encodeFrame(one);
        bytes[at % bytes.length]! ^= bits;
        const outcome = await read(bytes).catch((error: unknown) => error);
        expect(Array.isArray(outcome) || outcome instanceof FrameError).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });

  it('is refused at the length of a frame that is too large, before any of it', async () => {
    await expect(read(Buffer.from([0xff, 0xff, 0xff, 0xff]))).rejects.toThrow(
      new FrameError('A frame of 4294967295 bytes is larger than the 8388608 allowed'),
    );
    const bytes = encodeFrame({ type: 'data', bytes: new Uint8Array(50) });
    await expect(read(bytes, [], bytes.length - 5)).rejects.toThrow(FrameError);
    expect(await read(bytes, [], bytes.length - 4)).toHaveLength(1);
  });

  it.each([
    ['an empty body', framed(Buffer.alloc(0))],
    ['two values in one frame', framed(Buffer.from([1, 2]))],
    ['a list of two thousand million', framed(Buffer.from([0xdd, 0x7f, 0xff, 0xff, 0xff]))],
    ['a text of two thousand million', framed(Buffer.from([0xdb, 0x7f, 0xff, 0xff, 0xff, 65]))],
    ['a map of two thousand million', framed(Buffer.from([0xdf, 0x7f, 0xff, 0xff, 0xff, 65]))],
    ['a million nested lists', framed(Buffer.alloc(1_000_000, 0x91))],
    ['null', packed(null)],
    ['a number', packed(7)],
    ['a list', packed(['window'])],
    ['no type', packed({})],
    ['a type that every object has', packed({ type: 'constructor' })],
    ['a type that is no text', packed({ type: ['data'] })],
    ['rows without literals', packed({ type: 'rows', table: 't', columns: ['id'], count: 1, deleted: 0 })],
    ['rows of numbers', packed({ type: 'rows', table: 't', columns: ['id'], count: 1, deleted: 0, literals: [1] })],
    ['a fraction of a row', packed({ type: 'copied', table: 't', count: 1.5 })],
    ['fewer rows than none', packed({ type: 'copied', table: 't', count: -1 })],
    ['data that is text', packed({ type: 'data', bytes: 'abc' })],
    ['knowledge without tables', packed({ ...emptyWindow, knowledge: { a: { cursor: 'e/5:' } } })],
    ['a guard without a place', packed({ ...emptyWindow, guards: { t: [[{ node: 'a' }]] } })],
  ])('is refused when it holds %s', async (_, bytes) => {
    await expect(read(bytes)).rejects.toThrow(FrameError);
  });

  it('lets a window of another protocol pass, so that the reader can refuse it by that name', async () => {
    expect(await read(packed({ type: 'window', protocol: protocolVersion + 1 }))).toHaveLength(1);
    await expect(read(packed({ type: 'window', protocol: protocolVersion }))).rejects.toThrow('no valid node');
  });

  it('keeps the bytes of data that is held while others are read', async () => {
    const data = Array.from({ length: 20 }, (_, i): Frame => ({
      type: 'data',
      bytes: new Uint8Array(100_000).fill(i),
    }));
    const held = await read(Buffer.concat(data.map(encodeFrame)), [65_536]);
    held.forEach((one, i) => {
      expect(one.type === 'data' && one.bytes.length === 100_000 && one.bytes.every((byte) => byte === i)).toBe(true);
    });
  });

  it('keeps numbers up to 2^53 - 1', async () => {
    const largest: Frame = { type: 'copied', table: 't', count: Number.MAX_SAFE_INTEGER };
    expect(await read(encodeFrame(largest))).toEqual([largest]);
  });
});
