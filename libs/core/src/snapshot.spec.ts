import * as fc from 'fast-check';
import {
  beginning,
  cutSnapshot,
  formatSnapshot,
  includes,
  joinSnapshots,
  meetSnapshots,
  parsePgSnapshot,
  parseSnapshot,
  sameSnapshot,
  shows,
  type Snapshot,
} from './snapshot';

/** The model: a snapshot is the set of the transactions that it shows, here of a universe of 24. */
const universe = Array.from({ length: 24 }, (_, i) => BigInt(i));
const shown = (snapshot: Snapshot) => universe.filter((xid) => shows(snapshot, xid));
const either = (a: bigint[], b: bigint[]) => universe.filter((xid) => a.includes(xid) || b.includes(xid));
const both = (a: bigint[], b: bigint[]) => universe.filter((xid) => a.includes(xid) && b.includes(xid));

const snapshots = fc
  .integer({ min: 0, max: 22 })
  .chain((xmax) => fc.subarray(universe.slice(0, xmax)).map((xip): Snapshot => ({ xmax: BigInt(xmax), xip })));

describe('Snapshots as sets of transactions', () => {
  it('show what lies below xmax and was not in progress', () => {
    expect(shown({ xmax: 6n, xip: [1n, 4n] })).toEqual([0n, 2n, 3n, 5n]);
    expect(shown(beginning)).toEqual([]);
  });

  it('join to what either shows, and meet at what both show', () => {
    fc.assert(
      fc.property(snapshots, snapshots, (a, b) => {
        expect(shown(joinSnapshots(a, b))).toEqual(either(shown(a), shown(b)));
        expect(shown(meetSnapshots(a, b))).toEqual(both(shown(a), shown(b)));
      }),
    );
  });

  it('include each other exactly when the sets do', () => {
    fc.assert(
      fc.property(snapshots, snapshots, (a, b) => {
        expect(includes(a, b)).toBe(shown(b).every((xid) => shown(a).includes(xid)));
        expect(includes(joinSnapshots(a, b), a)).toBe(true);
        expect(includes(a, meetSnapshots(a, b))).toBe(true);
      }),
    );
  });

  it('join and meet to texts that can be read again, the same from either side', () => {
    fc.assert(
      fc.property(snapshots, snapshots, (a, b) => {
        for (const combine of [joinSnapshots, meetSnapshots]) {
          expect(sameSnapshot(combine(a, b), combine(b, a))).toBe(true);
          expect(parseSnapshot(formatSnapshot(combine(a, b)))).toEqual(combine(a, b));
        }
      }),
    );
  });

  it('are cut so that nothing hidden is claimed and nothing known is lost', () => {
    fc.assert(
      fc.property(snapshots, snapshots, fc.constantFrom(...universe), (from, present, xid) => {
        const taken = shown(present).filter((x) => x < xid);
        expect(shown(cutSnapshot(from, present, xid))).toEqual(either(shown(from), taken));
      }),
    );
  });

  it('are reached exactly by cuts, in whatever steps', () => {
    fc.assert(
      fc.property(snapshots, snapshots, fc.subarray(universe), (from, present, cuts) => {
        let position = from;
        for (const xid of cuts) position = cutSnapshot(position, present, xid);
        position = cutSnapshot(position, present, 1_000n);
        expect(shown(position)).toEqual(shown(joinSnapshots(from, present)));
      }),
    );
  });
});

describe('The text of a snapshot', () => {
  it('is read back as it was written', () => {
    fc.assert(fc.property(snapshots, (snapshot) => expect(parseSnapshot(formatSnapshot(snapshot))).toEqual(snapshot)));
  });

  it('has one form only: what is read is written the same', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[0-9]{0,4}:?[0-9,]{0,12}$/), (text) => {
        const snapshot = parseSnapshot(text);
        if (snapshot !== null) expect(formatSnapshot(snapshot)).toBe(text);
      }),
    );
  });

  it.each([
    ['empty', ''],
    ['no colon', '5'],
    ['a huge xmax', '18446744073709551616:'],
    ['an xmax that PostgreSQL cannot hold as a bigint', '9223372036854775808:'],
    ['an unordered list', '9:5,3'],
    ['a transaction twice', '9:5,5'],
    ['a transaction at xmax', '9:9'],
    ['a transaction beyond xmax', '9:10'],
    ['a negative number', '-1:'],
    ['a leading zero', '09:'],
    ['a leading zero in the list', '9:03'],
    ['spaces', ' 9:'],
    ['a line at its end', '9:\n'],
    ['an open list', '9:1,'],
    ['three parts', '1:9:2'],
    ['hexadecimal', '0x9:'],
    ['digits of another script', '٩:'],
  ])('is refused when it is %s', (_, text) => {
    expect(parseSnapshot(text)).toBeNull();
  });

  it('is refused when it is megabytes long, at once', () => {
    const list = Array.from({ length: 1_000_000 }, (_, i) => i).join(',');
    expect(parseSnapshot(`9999999999:${list}`)).toBeNull();
  });

  it('is read from what PostgreSQL prints', () => {
    expect(parsePgSnapshot('10:20:10,14')).toEqual({ xmax: 20n, xip: [10n, 14n] });
    expect(parsePgSnapshot('10:10:')).toEqual({ xmax: 10n, xip: [] });
    expect(() => parsePgSnapshot('nonsense')).toThrow('Not a pg_snapshot: nonsense');
  });
});
