/**
 * Positions in a feed are transaction snapshots of its PostgreSQL (invariant 2): a set of transactions, written as all below
 * `xmax` less those in `xip`, which were in progress. The sets of one server form a lattice: joins and meets of snapshots are
 * snapshots. Source: PostgreSQL manual, "pg_snapshot components".
 */
export interface Snapshot {
  /** The first transaction id that had not been assigned. */
  readonly xmax: bigint;
  /** Ids below `xmax` that were in progress, ascending. */
  readonly xip: readonly bigint[];
}

/** The snapshot that shows nothing: where a feed begins. */
export const beginning: Snapshot = Object.freeze({ xmax: 0n, xip: [] });

/** Whether what transaction `xid` wrote is shown by `snapshot`. */
export function shows(snapshot: Snapshot, xid: bigint): boolean {
  return xid < snapshot.xmax && !snapshot.xip.includes(xid);
}

/** Whether all that `b` shows is shown by `a`. */
export function includes(a: Snapshot, b: Snapshot): boolean {
  const beyond = a.xmax < b.xmax ? b.xmax - a.xmax : 0n;
  const hidden = b.xip.filter((xid) => xid >= a.xmax).length;
  return beyond === BigInt(hidden) && a.xip.every((xid) => !shows(b, xid));
}

export function sameSnapshot(a: Snapshot, b: Snapshot): boolean {
  return formatSnapshot(a) === formatSnapshot(b);
}

/** What either shows. */
export function joinSnapshots(a: Snapshot, b: Snapshot): Snapshot {
  const [low, high] = a.xmax <= b.xmax ? [a, b] : [b, a];
  return { xmax: high.xmax, xip: high.xip.filter((xid) => !shows(low, xid)) };
}

/** What both show. */
export function meetSnapshots(a: Snapshot, b: Snapshot): Snapshot {
  const xmax = a.xmax < b.xmax ? a.xmax : b.xmax;
  const hidden = new Set([...a.xip, ...b.xip].filter((xid) => xid < xmax));
  return { xmax, xip: ascending(hidden) };
}

/**
 * The position of a reader that was at `from`, then took of `present` all transactions below `xid`: how a window too large for
 * one piece is cut. What `present` shows at or above `xid` and `from` did not is still to come.
 */
export function cutSnapshot(from: Snapshot, present: Snapshot, xid: bigint): Snapshot {
  const below = { xmax: xid < present.xmax ? xid : present.xmax, xip: present.xip.filter((x) => x < xid) };
  return joinSnapshots(from, below);
}

/** `xmax:xip,xip,…`, the form in which cursors name snapshots. */
export function formatSnapshot({ xmax, xip }: Snapshot): string {
  return `${xmax}:${xip.join(',')}`;
}

const pattern = /^(\d{1,19}):((?:\d{1,19}(?:,\d{1,19})*)?)$/;

/** Reads `formatSnapshot`'s form; null when the text is not one. */
export function parseSnapshot(text: string): Snapshot | null {
  const match = pattern.exec(text);
  if (!match) return null;
  const xmax = BigInt(match[1]!);
  const xip = match[2] ? match[2].split(',').map(BigInt) : [];
  const ordered = xip.every((xid, i) => xid < xmax && (i === 0 || xip[i - 1]! < xid));
  return ordered ? { xmax, xip } : null;
}

/** Reads what `pg_current_snapshot()` prints: `xmin:xmax:xip,…`. */
export function parsePgSnapshot(text: string): Snapshot {
  const [, xmax, xip] = text.split(':');
  if (xmax === undefined) throw new RangeError(`Not a pg_snapshot: ${text}`);
  return { xmax: BigInt(xmax), xip: xip ? xip.split(',').map(BigInt) : [] };
}

function ascending(xids: Iterable<bigint>): bigint[] {
  return [...xids].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}
