import fc from 'fast-check';
import { rowsInPieces } from './rows-in-pieces';

async function* cut(text: Buffer, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (let i = 0; at < text.length; i++) {
    const size = sizes[i % sizes.length]!;
    yield text.subarray(at, at + size);
    at += size;
  }
}

describe('Rows in pieces', () => {
  it('are all there, in order, cut at the ends of rows only, in pieces of the sizes asked for', async () => {
    const row = fc.string({ maxLength: 30 }).map((text) => `${text.replace(/\n/g, '')}\n`);
    await fc.assert(
      fc.asyncProperty(
        fc.array(row, { maxLength: 60 }),
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
        fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }),
        async (rows, sizes, wanted) => {
          const sizeOf = (piece: number) => wanted[piece % wanted.length]!;
          const pieces: string[] = [];
          for await (const piece of rowsInPieces(cut(Buffer.from(rows.join('')), sizes), sizeOf)) {
            const parts: Uint8Array[] = [];
            for await (const part of piece) parts.push(Buffer.from(part));
            pieces.push(Buffer.concat(parts).toString());
          }
          expect(pieces.join('')).toBe(rows.join(''));
          expect(pieces.every((piece) => piece.endsWith('\n'))).toBe(true);
          expect(pieces.slice(0, -1).every((piece, i) => Buffer.byteLength(piece) >= sizeOf(i))).toBe(true);
        },
      ),
    );
  });
});
