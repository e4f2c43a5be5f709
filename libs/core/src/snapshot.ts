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

/** The snapshot that shows all: ids as large are never reached. */
export const everything: Snapshot = Object.freeze({ xmax: 2n ** 63n - 1n, xip: [] });

/** Whether what transaction `xid` wrote is shown by `snapshot`. */
export function shows(snapshot: Snapshot, xid: bigint): boolean {
  return xid < snapshot.xmax && !holds(snapshot.xip, xid);
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

/** The snapshot with one transaction more. */
export function including({ xmax, xip }: Snapshot, xid: bigint): Snapshot {
  if (xid < xmax) return { xmax, xip: xip.filter((one) => one !== xid) };
  const between = Array.from({ length: Number(xid - xmax) }, (_, i) => xmax + BigInt(i));
  return { xmax: xid + 1n, xip: [...xip, ...between] };
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

/** What the snapshot shows but for these transactions: as if they were in progress. */
export function withoutTransactions(snapshot: Snapshot, xids: readonly bigint[]): Snapshot {
  const hidden = xids.filter((xid) => xid < snapshot.xmax);
  return hidden.length === 0 ? snapshot : { ...snapshot, xip: ascending(new Set([...snapshot.xip, ...hidden])) };
}

/** `xmax:xip,xip,…`, the form in which cursors name snapshots. */
export function formatSnapshot({ xmax, xip }: Snapshot): string {
  return `${xmax}:${xip.join(',')}`;
}

/** Some 5,000 transactions in progress; longer texts are not read, for the pattern's stack is not endless. */
const longestText = 100_000;
const pattern = /^(?:0|[1-9]\d{0,18}):(?:\d{1,19}(?:,\d{1,19})*)?$/;
/** PostgreSQL counts further, but would need 292,000 years at a million transactions a second to get here. */
const beyondAll = 2n ** 63n;

/** Reads `formatSnapshot`'s form, and that alone, so that equal texts are equal values; null when the text is not one. */
export function parseSnapshot(text: string): Snapshot | null {
  if (text.length > longestText || !pattern.test(text)) return null;
  const [first = '', rest = ''] = text.split(':');
  const snapshot = { xmax: BigInt(first), xip: rest === '' ? [] : rest.split(',').map(BigInt) };
  const { xmax, xip } = snapshot;
  const ordered = xip.every((xid, i) => xid < xmax && (i === 0 || xip[i - 1]! < xid));
  return ordered && xmax < beyondAll && formatSnapshot(snapshot) === text ? snapshot : null;
}

/** Reads what `pg_current_snapshot()` prints: `xmin:xmax:xip,…`. */
export function parsePgSnapshot(text: string): Snapshot {
  const [, xmax, xip] = text.split(':');
  if (xmax === undefined) throw new RangeError(`Not a pg_snapshot: ${text}`);
  return { xmax: BigInt(xmax), xip: xip ? xip.split(',').map(BigInt) : [] };
}

/** A search by halves: positions come from peers, and their lists may be long. */
function holds(xip: readonly bigint[], xid: bigint): boolean {
  let [low, high] = [0, xip.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (xip[middle]! < xid) low = middle + 1;
    else high = middle;
  }
  return xip[low] === xid;
}

function ascending(xids: Iterable<bigint>): bigint[] {
  return [...xids].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}
