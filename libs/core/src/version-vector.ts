import type { Stamp } from './stamp';

/**
 * The name under which a node writes: its id and the incarnation of its database, `node1~3f9ac81b22d0`. A restored or copied
 * database writes under a new incarnation, so that no two versions share a name.
 */
export type Origin = string;

/** For each origin the highest stamp of that origin in a row's past. */
export type VersionVector = Readonly<Record<Origin, Stamp>>;

export const emptyVector: VersionVector = Object.freeze(Object.create(null) as Record<Origin, Stamp>);

/** Whether a past described by `vector` contains the write that `origin` made at `stamp`. */
export function vectorCovers(vector: VersionVector, origin: Origin, stamp: Stamp): boolean {
  const known = Object.hasOwn(vector, origin) ? vector[origin] : undefined;
  return known !== undefined && known >= stamp;
}

export function sameVector(a: VersionVector, b: VersionVector): boolean {
  const entries = Object.entries(a);
  return (
    entries.length === Object.keys(b).length &&
    entries.every(([origin, stamp]) => Object.hasOwn(b, origin) && b[origin] === stamp)
  );
}

/** The smallest vector that covers both. */
export function joinVectors(a: VersionVector, b: VersionVector): VersionVector {
  const joined: Record<Origin, Stamp> = Object.assign(Object.create(null), a);
  for (const [origin, stamp] of Object.entries(b)) {
    if (!vectorCovers(joined, origin, stamp)) joined[origin] = stamp;
  }
  return joined;
}
