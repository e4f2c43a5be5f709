import type { DigestedRange, DigestPart, DigestRange, KeyRange, RowDigest } from '@pgmesh/core';

export type Key = readonly string[];

/** One of two nodes' digests of a table. It answers range by range, in the order asked. */
export interface DigestSide {
  read(ranges: readonly DigestRange[]): Promise<readonly DigestedRange[]>;
}

export interface Found {
  /** Rows that the tables have in the range: the more of the two. */
  readonly rows: number;
  readonly keys: readonly Key[];
}

/** Parts that a range that differs is cut into. */
const fan = 16;
/** Ranges with at most as many rows are compared row by row. */
const leaf = 32;
/** Steps down after which that is done whatever their size: 16^12 rows nobody has, so the two sides do not agree on the order of keys. */
const deepest = 12;

interface Suspect extends KeyRange {
  readonly ours: number;
  readonly theirs: number;
}

/**
 * Finds the keys under which two nodes hold different rows in a range, going down only where digests differ. Whoever has more rows
 * there says where it is cut, so that each level has a sixteenth of the rows of the one above. Nodes that order keys otherwise find the same, by more steps: in
 * whatever order a chain of half-open ranges is read, each key is in one of them.
 */
export async function differingKeys(ours: DigestSide, theirs: DigestSide, range: KeyRange): Promise<Found> {
  const whole: DigestRange = { ...range, by: 'at', at: [] };
  const [[mine], [other]] = (await Promise.all([ours.read([whole]), theirs.read([whole])])) as [
    DigestedRange[],
    DigestedRange[],
  ];
  const [a, b] = [partsOf(mine), partsOf(other)];
  const rows = Math.max(live(a), live(b));
  const keys = new Map<string, Key>();
  let suspects = suspectsIn(range, a, b);
  for (let depth = 0; suspects.length > 0; depth++) {
    const next: Suspect[] = [];
    for (const some of inGroups(suspects, fan)) {
      const found = await lookInto(ours, theirs, some, depth < deepest ? leaf : Infinity);
      for (const key of found.keys) keys.set(JSON.stringify(key), key);
      next.push(...found.suspects);
    }
    suspects = next;
  }
  return { rows, keys: [...keys.values()] };
}

/** One step down: ours are cut first, so that what is asked of the other node goes in one request. */
async function lookInto(ours: DigestSide, theirs: DigestSide, suspects: readonly Suspect[], most: number) {
  const small = suspects.filter((one) => Math.max(one.ours, one.theirs) <= most);
  const large = suspects.filter((one) => !small.includes(one));
  const cutByUs = large.filter((one) => one.ours >= one.theirs);
  const cutByThem = large.filter((one) => one.ours < one.theirs);
  const mine = await ours.read(cutByUs.map(inParts));
  const other = await theirs.read([
    ...cutByUs.map((one, i) => cutAs(one, mine[i])),
    ...cutByThem.map(inParts),
    ...small.map(byRow),
  ]);
  const [likeOurs, cut, leaves] = split(other, cutByUs.length, cutByThem.length);
  const rest = await ours.read([...cutByThem.map((one, i) => cutAs(one, cut[i])), ...small.map(byRow)]);
  const [likeTheirs, ownLeaves] = split(rest, cutByThem.length, small.length);
  return {
    suspects: [
      ...cutByUs.flatMap((one, i) => suspectsIn(one, partsOf(mine[i]), partsOf(likeOurs[i]))),
      ...cutByThem.flatMap((one, i) => suspectsIn(one, partsOf(likeTheirs[i]), partsOf(cut[i]))),
    ],
    keys: small.flatMap((_, i) => keysThatDiffer(ownLeaves[i]?.rows ?? [], leaves[i]?.rows ?? [])),
  };
}

const inParts = ({ from, to }: KeyRange): DigestRange => ({ from, to, by: 'parts', parts: fan });
const byRow = ({ from, to }: KeyRange): DigestRange => ({ from, to, by: 'rows' });

function cutAs({ from, to }: KeyRange, cut: DigestedRange | undefined): DigestRange {
  return {
    from,
    to,
    by: 'at',
    at: partsOf(cut)
      .slice(1)
      .map((part) => part.from!),
  };
}

/** Parts of a range that are not the same on both sides, which are cut alike. */
function suspectsIn({ to }: KeyRange, ours: readonly DigestPart[], theirs: readonly DigestPart[]): Suspect[] {
  return ours.flatMap((part, i) => {
    const other = theirs[i]!;
    if (part.digest === other.digest && part.rows === other.rows) return [];
    return [{ from: part.from, to: i + 1 < ours.length ? ours[i + 1]!.from : to, ours: part.rows, theirs: other.rows }];
  });
}

/** A tombstone is as good as nothing. */
function keysThatDiffer(ours: readonly RowDigest[], theirs: readonly RowDigest[]): Key[] {
  const others = new Map(theirs.map((row) => [JSON.stringify(row.key), row]));
  const here = ours.filter(({ key, digest, gone }) => {
    const id = JSON.stringify(key);
    const other = others.get(id);
    others.delete(id);
    return other ? other.digest !== digest : !gone;
  });
  return [...here, ...[...others.values()].filter(({ gone }) => !gone)].map(({ key }) => key);
}

function partsOf(read: DigestedRange | undefined): readonly DigestPart[] {
  if (read?.parts === undefined || read.parts.length === 0)
    throw new Error('A range was asked for in parts and has none');
  return read.parts;
}

const live = (parts: readonly DigestPart[]): number => parts.reduce((sum, part) => sum + part.live, 0);

function split<T>(all: readonly T[], first: number, second: number): [T[], T[], T[]] {
  return [all.slice(0, first), all.slice(first, first + second), all.slice(first + second)];
}

export function* inGroups<T>(all: readonly T[], size: number): Generator<T[]> {
  for (let i = 0; i < all.length; i += size) yield all.slice(i, i + size);
}
