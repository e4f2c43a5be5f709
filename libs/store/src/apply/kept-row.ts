import {
  compareVersions,
  type Fields,
  type RowImage,
  type RowState,
  type RowVersion,
  sameState,
  sameVersion,
} from '@pgmesh/core';

/** A version as it lies in the `siblings` of a metadata row. */
export interface StoredVersion {
  readonly stamp: number;
  readonly origin: string;
  readonly priority: number;
  readonly past: Record<string, number> | null;
  readonly deleted: boolean;
  readonly image: RowImage | null;
  readonly fields?: Fields | null;
  /** Where it was made: the feed and the transaction; nothing where that is not known. */
  readonly made?: readonly [feed: string, xid: string] | null;
}

/** What is kept of a row: the version that stands, what the table shows (`image`, `deleted`, `fields`), and the others. */
export interface KeptRow extends StoredVersion {
  readonly siblings: readonly StoredVersion[] | null;
}

/** Whether the table shows no version as it is, but a row composed of several: then the one that stands lies whole among the siblings. */
export function isComposed({ siblings, ...row }: KeptRow): boolean {
  return siblings?.some((one) => isMain(row, one)) ?? false;
}

function isMain(row: Pick<StoredVersion, 'stamp' | 'origin'>, one: StoredVersion): boolean {
  return one.stamp === row.stamp && one.origin === row.origin;
}

/** All of a row's versions, in their order, whichever of them stands. */
export function stateOf(row: KeptRow): RowState {
  const others = (row.siblings ?? []).map((one) => fromStored(isMain(row, one) ? { ...one, made: row.made } : one));
  const all = isComposed(row) ? others : [fromStored({ ...row, image: row.deleted ? null : row.image }), ...others];
  return all.sort(compareVersions);
}

function fromStored({ stamp, origin, priority, past, deleted, image, fields, made }: StoredVersion): RowVersion {
  const known = made && { made: { feed: made[0], xid: BigInt(made[1]) } };
  return { stamp, origin, priority, past: past ?? {}, deleted, image, ...(fields && { fields }), ...known };
}

export function toStored({ stamp, origin, priority, past, deleted, image, fields, made }: RowVersion): StoredVersion {
  const known = Object.keys(past).length > 0 ? past : null;
  const birth = made && { made: [made.feed, String(made.xid)] as const };
  return { stamp, origin, priority, past: known, deleted, image, ...(fields && { fields }), ...birth };
}

/** Whether a row is kept with these versions, whichever of them stands. */
export function hasState(row: KeptRow, state: RowState): boolean {
  return sameState(stateOf(row), state);
}

export function standsAs(row: KeptRow, version: RowVersion): boolean {
  return sameVersion(row as unknown as RowVersion, version);
}
