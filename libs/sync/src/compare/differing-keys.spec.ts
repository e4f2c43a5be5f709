import type { HeldRow } from '@pgmesh/core';
import fc from 'fast-check';
import { MemoryDigests } from '../../test-support/memory-digests';
import { differingKeys, type DigestSide } from './differing-keys';

type Rows = ReadonlyMap<string, string>;

const tombstone = 'gone';

function side(rows: Rows, before?: (a: string, b: string) => boolean): DigestSide & { asked: number } {
  const held = [...rows].map(([key, digest]): HeldRow => {
    const deleted = digest.startsWith(tombstone);
    const version = { stamp: 1, origin: 'a~1', past: {}, deleted, several: false, composed: false, names: '' };
    // As in a database, the digest of a row is one of its key, too.
    return { key: [key], digest: `${key}=${digest}`, value: deleted ? null : digest, version, untouched: true };
  });
  const open = () => Promise.reject(new Error('Nothing is sent'));
  const digests = new MemoryDigests(() => ({ rows: () => held, open, rewrite: () => undefined }), undefined, before);
  const counted = {
    asked: 0,
    read(ranges: Parameters<DigestSide['read']>[0]) {
      counted.asked += ranges.length;
      return digests.read({ table: 't' }, ranges);
    },
  };
  return counted;
}

/** What both sides hold otherwise; a tombstone is as good as nothing. */
function expected(a: Rows, b: Rows): string[] {
  const isThere = (digest: string | undefined) => digest !== undefined && !digest.startsWith(tombstone);
  return [...new Set([...a.keys(), ...b.keys()])]
    .filter((key) => a.get(key) !== b.get(key))
    .filter((key) => (a.has(key) && b.has(key)) || isThere(a.get(key)) || isThere(b.get(key)))
    .sort();
}

const all = { from: null, to: null };
const found = async (a: DigestSide, b: DigestSide) => (await differingKeys(a, b, all)).keys.map(([key]) => key!).sort();

const keys = fc.integer({ min: 0, max: 1200 }).map((n) => `k${n}`);
const digests = fc.constantFrom('1', '2', '3', `${tombstone}1`, `${tombstone}2`);
const changes = fc.array(fc.tuple(keys, fc.option(digests)), { maxLength: 60 });

/** Both sides have most rows alike, some anew, otherwise or not at all. */
const pairs = fc
  .tuple(fc.integer({ min: 0, max: 1200 }), changes, changes)
  .map(([size, ours, theirs]): [Rows, Rows] => {
    const common = Array.from({ length: size }, (_, n): [string, string] => [`k${n}`, '0']);
    return [applied(common, ours), applied(common, theirs)];
  });

function applied(rows: readonly [string, string][], some: readonly [string, string | null][]): Rows {
  const map = new Map(rows);
  for (const [key, digest] of some) {
    if (digest === null) map.delete(key);
    else map.set(key, digest);
  }
  return map;
}

describe('differingKeys', () => {
  it('finds exactly the keys that are held otherwise, whichever side asks', async () => {
    await fc.assert(
      fc.asyncProperty(pairs, async ([a, b]) => {
        expect(await found(side(a), side(b))).toEqual(expected(a, b));
        expect(await found(side(b), side(a))).toEqual(expected(a, b));
      }),
      { numRuns: 40 },
    );
  });

  it('finds them in a range, its first key in it and its last one not', async () => {
    await fc.assert(
      fc.asyncProperty(pairs, keys, keys, async ([a, b], from, to) => {
        const within = expected(a, b).filter((key) => key >= from && key < to);
        const { keys: differing } = await differingKeys(side(a), side(b), { from: [from], to: [to] });
        expect(differing.map(([key]) => key!).sort()).toEqual(within);
      }),
      { numRuns: 40 },
    );
  });

  it('finds them although the other side has its keys in another order', async () => {
    await fc.assert(
      fc.asyncProperty(pairs, async ([a, b]) => {
        const backwards = side(b, (x, y) => x > y);
        const differing = new Set(await found(side(a), backwards));
        for (const key of expected(a, b)) expect(differing).toContain(key);
      }),
      { numRuns: 20 },
    );
  });

  it('sees what would cancel out in a sum of differences: rows that have exchanged their contents', async () => {
    const rows = Array.from({ length: 2000 }, (_, n): [string, string] => [`k${n}`, `${n}`]);
    const [a, b] = [new Map(rows), new Map(rows)];
    b.set('k7', '8').set('k8', '7');
    expect(await found(side(a), side(b))).toEqual(['k7', 'k8']);
  });

  it('asks once of tables that are the same, and of few ranges for few differences', async () => {
    const rows = Array.from({ length: 20_000 }, (_, n): [string, string] => [`k${n}`, 'x']);
    const same = side(new Map(rows));
    expect(await differingKeys(same, side(new Map(rows)), all)).toEqual({ rows: 20_000, keys: [] });
    expect(same.asked).toBe(1);
    const other = side(new Map([...rows, ['k77', 'y']]));
    expect(await found(side(new Map(rows)), other)).toEqual(['k77']);
    expect(other.asked).toBeLessThan(8);
  });
});
