import fc from 'fast-check';
import { CopyWatch, secondsLeft } from './copy-watch';

const copy = (rows: number, of: number | null) => ({
  tables: ['public.a'],
  since: { xmax: 5n, xip: [] },
  next: { table: 'public.a', after: ['7'] },
  extent: { rows, of },
});

describe('The progress of a first copy', () => {
  it('is told from the second piece on with the time that is left', () => {
    let now = 0;
    const watch = new CopyWatch(() => now);
    expect(watch.merged('b', { rows: 100, of: 1_000 }, copy(100, 1_000))).toEqual({
      copied: 100,
      of: 1_000,
      seconds_left: null,
    });
    now = 2_000;
    expect(watch.merged('b', { rows: 300, of: null }, copy(400, 1_000))).toMatchObject({
      copied: 400,
      seconds_left: 4,
    });
    expect(watch.of('b', copy(400, 1_000))).toMatchObject({ seconds_left: 4 });
    expect(watch.merged('b', { rows: 500, of: null }, null)).toEqual({ copied: 900, of: 900, seconds_left: 0 });
    expect(watch.of('b', copy(400, 1_000))).toMatchObject({ copied: 400, seconds_left: null });
  });

  it('begins anew with a copy that does', () => {
    let now = 0;
    const watch = new CopyWatch(() => now);
    watch.merged('b', undefined, copy(500, 600));
    now = 10_000;
    expect(watch.merged('b', undefined, copy(100, 600)).seconds_left).toBeNull();
    now = 11_000;
    expect(watch.merged('b', undefined, copy(200, 600)).seconds_left).toBe(4);
  });

  it('knows nothing of the end where the source has not told of it', () => {
    const watch = new CopyWatch(() => 0);
    expect(watch.merged('b', { rows: 5, of: null }, copy(5, null))).toEqual({
      copied: 5,
      of: null,
      seconds_left: null,
    });
  });

  it('is never negative, and comes to nothing when all was gone past', () => {
    const mark = fc.record({ rows: fc.nat(), at: fc.nat() });
    fc.assert(
      fc.property(mark, mark, fc.nat(), (first, last, of) => {
        const left = secondsLeft(first, last, of);
        expect(left === null || left >= 0).toBe(true);
        if (left !== null && of <= last.rows) expect(left).toBe(0);
      }),
    );
  });
});
