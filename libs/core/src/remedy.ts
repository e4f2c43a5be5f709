import type { Stamp } from './stamp';
import { type Origin, sameVector, type VersionVector } from './version-vector';

/** How a node holds one row, as it tells another node with which it compares. Digests are opaque: equal ones are of equal things. */
export interface HeldRow {
  /** PostgreSQL's text. */
  readonly key: readonly string[];
  /** Of all that is compared. */
  readonly digest: string;
  /** Of the row that the table has; null where it has none. */
  readonly value: string | null;
  readonly version: HeldVersion | null;
  /** Whether the row certainly lies there as the write of its version left it. */
  readonly untouched: boolean;
}

/** What the metadata has of a row. */
export interface HeldVersion {
  readonly stamp: Stamp;
  readonly origin: Origin;
  readonly past: VersionVector;
  /** Whether it says that the table does not have the row. */
  readonly deleted: boolean;
  /** Whether there are concurrent versions; a row that is parked or composed has itself among them. */
  readonly several: boolean;
  readonly composed: boolean;
  /** Of the names of all its versions. */
  readonly names: string;
}

/** One of the two that compare. */
export interface Comparer {
  readonly nodeId: string;
  /** Under which it writes. */
  readonly origin: Origin;
}

/**
 * What a node does by itself about a row that another holds otherwise, before both send each other their versions:
 * `write`: what its table has is a write that capture did not see, and gets its version now. `affirm`: the same with the lowest stamp that can be,
 * so that the row is kept beside a write that would cover it. `none`: its versions say what there is to say.
 */
export type Remedy = 'write' | 'affirm' | 'none';

/** What `us` does about it. Both ask this with the sides exchanged, and so know what the other does (docs/verify.md). */
export function remedyOf(ours: HeldRow, theirs: HeldRow, us: Comparer, them: Comparer): Remedy {
  if (!isSound(ours)) return 'write';
  if (!isSound(theirs)) return ours.value !== null && isSameVersion(ours, theirs) ? 'affirm' : 'none';
  const [mine, other] = [ours.version, theirs.version];
  if (mine === null || other === null) return 'none';
  if (isForged(mine, theirs, them)) return 'write';
  if (!isSameVersion(ours, theirs) || isForged(other, ours, us)) return 'none';
  if (ours.value === theirs.value)
    return isOtherUnderItsName(ours, theirs) && us.nodeId < them.nodeId ? 'write' : 'none';
  // A row that rules have made, or that one of both cannot show, is nobody's write.
  if (mine.composed || other.composed || mine.deleted !== other.deleted) return 'none';
  return ours.untouched && !theirs.untouched ? 'affirm' : 'write';
}

/** Whether the table has what the metadata says: otherwise somebody wrote past capture. */
export function isSound({ value, version }: HeldRow): boolean {
  return version === null ? value === null : version.deleted === (value === null);
}

/** Whether there is a row, or was one: a tombstone is gone once every member has seen it, here sooner than there. */
export function isNothing({ value, version }: HeldRow): boolean {
  return value === null && (version === null || (version.deleted && !version.several));
}

/** Whether a difference of the two is one: a tombstone is as good as nothing. */
export function differ(ours: HeldRow, theirs: HeldRow): boolean {
  if (ours.digest === theirs.digest) return false;
  const isGone = (one: HeldRow, other: HeldRow) => isNothing(one) && other.version === null && other.value === null;
  return !isGone(ours, theirs) && !isGone(theirs, ours);
}

function isSameVersion({ version: a }: HeldRow, { version: b }: HeldRow): boolean {
  return a !== null && b !== null && a.stamp === b.stamp && a.origin === b.origin;
}

/** Equal names and pasts, another priority: a hand in the metadata, or two databases that write under one name. What differs in its past is joined. */
function isOtherUnderItsName({ version: a, digest: x }: HeldRow, { version: b, digest: y }: HeldRow): boolean {
  const isParked = a!.deleted && a!.several;
  return (
    x !== y &&
    sameVector(a!.past, b!.past) &&
    a!.names === b!.names &&
    a!.deleted === b!.deleted &&
    a!.composed === b!.composed &&
    !isParked
  );
}

/** Whether a version bears the other's name and the other does not know it: it would refuse it. */
function isForged(version: HeldVersion, { version: known }: HeldRow, { origin }: Comparer): boolean {
  if (version.origin !== origin || known === null) return false;
  const stamp = known.origin === origin ? known.stamp : (known.past[origin] ?? 0);
  return version.stamp > stamp;
}
