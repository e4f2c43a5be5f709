import type { Fields } from './field-stamps';
import type { Made } from './made';
import type { Stamp } from './stamp';
import { emptyVector, type Origin, type VersionVector, vectorCovers } from './version-vector';

/** A row's columns as the text that PostgreSQL prints for them (invariant 8); null is SQL's NULL. */
export type RowImage = Readonly<Record<string, string | null>>;

/**
 * One write of a row, with the whole row that it left behind.
 *
 * `past` holds what the writer had seen of *other* origins; that a version covers its own origin up to its own stamp goes
 * without saying. A row that only ever one node wrote therefore has an empty past, whatever the number of its writes. It grows once, by what
 * the version has won against, when every member has heard of that (`letGo`).
 */
export interface RowVersion {
  readonly stamp: Stamp;
  readonly origin: Origin;
  readonly priority: number;
  readonly past: VersionVector;
  readonly deleted: boolean;
  /** The row; null for a tombstone. */
  readonly image: RowImage | null;
  /** Which earlier writes its unchanged fields stem from; nothing on tables without `merge-fields`. */
  readonly fields?: Fields | null;
  /** Where it was made, as far as that is known. */
  readonly made?: Made | null;
}

/** Whether two records speak of the same write. */
export function sameVersion(a: RowVersion, b: RowVersion): boolean {
  return a.stamp === b.stamp && a.origin === b.origin;
}

/** Whether `a`'s writer had seen `b`, or `a` is `b`: `a` makes `b` superfluous (invariant 4). */
export function covers(a: RowVersion, b: RowVersion): boolean {
  return a.origin === b.origin ? a.stamp >= b.stamp : vectorCovers(a.past, b.origin, b.stamp);
}

/** The whole vector of a version, its own write included, as people and peers are shown it. */
export function vectorOf(version: RowVersion): VersionVector {
  return { ...(version.past ?? emptyVector), [version.origin]: version.stamp };
}

/** A total order that all nodes agree on: by stamp, then by origin. */
export function compareVersions(a: RowVersion, b: RowVersion): number {
  return a.stamp - b.stamp || (a.origin < b.origin ? -1 : a.origin > b.origin ? 1 : 0);
}
