/**
 * Which nodes link to which, where each knows many: every node stands on several rings, on each in an order of its own, and links to those
 * before and after it. One ring alone connects all; several orders at once make a random graph in which any two are a few
 * hops apart. Two neighbours choose each other, so that no node has more links than the bound; who comes or goes concerns its own
 * neighbours alone. Source: Law, Siu, "Distributed Construction of Random Expander Networks" (INFOCOM 2003).
 */

/** With one link alone nothing is connected. */
export const fewestLinks = 2;

/**
 * The neighbours of a node among others: all where these are not more than `bound`, else at most `bound`, at least `fewestLinks`. Whoever
 * chooses by the same ids and bound is chosen by those whom it chooses (with an odd bound, by all but one).
 */
export function ringNeighbours(self: string, others: readonly string[], bound: number): Set<string> {
  const most = Math.max(bound, fewestLinks);
  const distinct = [...new Set(others)].filter((id) => id !== self);
  if (distinct.length <= most) return new Set(distinct);
  const chosen = new Set<string>();
  for (let ring = 0; 2 * ring < most; ring += 1) {
    const [after, before] = besides(self, distinct, ring);
    chosen.add(after);
    if (2 * ring + 1 < most) chosen.add(before);
  }
  return chosen;
}

/** Who comes after and before a node on one ring. */
function besides(self: string, others: readonly string[], ring: number): [after: string, before: string] {
  const own = seatOf(self, ring);
  const seats = others.map((id) => seatOf(id, ring));
  const [above, below] = [seats.filter((seat) => isBefore(own, seat)), seats.filter((seat) => isBefore(seat, own))];
  const after = (above.length > 0 ? above : seats).reduce((first, seat) => (isBefore(seat, first) ? seat : first));
  const before = (below.length > 0 ? below : seats).reduce((last, seat) => (isBefore(last, seat) ? seat : last));
  return [after.id, before.id];
}

interface Seat {
  readonly id: string;
  readonly place: number;
}

/** Where two fall on one place their names decide. */
function isBefore(a: Seat, b: Seat): boolean {
  return a.place < b.place || (a.place === b.place && a.id < b.id);
}

/** The same on every node: FNV-1a over the ring's number and the id, mixed by the finalizer of MurmurHash3. */
function seatOf(id: string, ring: number): Seat {
  const text = `${ring}/${id}`;
  let bits = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) bits = Math.imul(bits ^ text.charCodeAt(i), 0x01000193);
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return { id, place: (bits ^ (bits >>> 16)) >>> 0 };
}
