/**
 * From addresses to peers: pure. Sources and answers tell of URLs; a peer is a node, which may have several. Peers are
 * always derived from the whole of what is known, never patched, so that the order in which it was learned is no
 * matter: merging two URLs and splitting them again are the same computation.
 */

/** What is known of one URL. */
export interface Sighting {
  readonly url: string;
  /** Source → the node that the source says is there. Never empty: a URL that no source sees is not known. */
  readonly claims: ReadonlyMap<string, string | null>;
  /** The node that answered there: stronger than any claim. */
  readonly answeredBy: string | null;
}

export interface Peer {
  /** The node id where it is known, else the URL: what `DELETE /p2p/peers/{peer_id}` takes. */
  readonly id: string;
  readonly nodeId: string | null;
  /** The URL to dial first. */
  readonly url: string;
  readonly urls: readonly string[];
  readonly sources: readonly string[];
  /** Whether somebody named it. */
  readonly byHand: boolean;
}

/** Who we are, and where: what must never become a peer. */
export interface Self {
  readonly nodeId: string;
  readonly urls: readonly string[];
}

export type PeerChange =
  | { readonly kind: 'added'; readonly peer: Peer }
  | { readonly kind: 'removed'; readonly peer: Peer }
  | { readonly kind: 'changed'; readonly peer: Peer; readonly before: Peer };

export function nodeOf(sighting: Sighting): string | null {
  const byHand = sighting.claims.get('manual');
  return sighting.answeredBy ?? byHand ?? [...sighting.claims.values()].find((node) => node !== null) ?? null;
}

export function isSelf(sighting: Sighting, self: Self): boolean {
  return self.urls.includes(sighting.url) || nodeOf(sighting) === self.nodeId;
}

export function peersOf(sightings: Iterable<Sighting>, self: Self): Peer[] {
  const byPeer = new Map<string, Sighting[]>();
  for (const sighting of sightings) {
    if (isSelf(sighting, self)) continue;
    const id = nodeOf(sighting) ?? sighting.url;
    const together = byPeer.get(id);
    if (together) together.push(sighting);
    else byPeer.set(id, [sighting]);
  }
  return [...byPeer].map(([id, together]) => peer(id, together)).sort(byId);
}

function peer(id: string, sightings: Sighting[]): Peer {
  const urls = sightings.sort(mostTrustedFirst).map(({ url }) => url);
  const sources = [...new Set(sightings.flatMap(({ claims }) => [...claims.keys()]))].sort();
  return { id, nodeId: nodeOf(sightings[0]!), url: urls[0]!, urls, sources, byHand: sources.includes('manual') };
}

/** A stranger who announces another node's id must not draw its traffic: what answered and what people say go first. */
function mostTrustedFirst(a: Sighting, b: Sighting): number {
  return trust(b) - trust(a) || (a.url < b.url ? -1 : 1);
}
const trust = (sighting: Sighting): number =>
  (sighting.answeredBy === null ? 0 : 2) + (sighting.claims.has('manual') ? 1 : 0);

const byId = (a: Peer, b: Peer): number => (a.id < b.id ? -1 : 1);

/**
 * What happened between two lists. A peer goes on being the same one when its id is the same or, since an id becomes
 * known late, when it keeps a URL. Removals come first, so that a listener never holds two peers with one URL.
 */
export function changesBetween(before: readonly Peer[], after: readonly Peer[]): PeerChange[] {
  const unmatched = new Set(before);
  const predecessor = new Map<Peer, Peer>();
  const match = (same: (old: Peer, now: Peer) => boolean): void => {
    for (const now of after) {
      if (predecessor.has(now)) continue;
      for (const old of unmatched) {
        if (!same(old, now)) continue;
        predecessor.set(now, old);
        unmatched.delete(old);
        break;
      }
    }
  };
  match((old, now) => old.id === now.id);
  match((old, now) => old.urls.some((url) => now.urls.includes(url)));

  const removed = [...unmatched].map((old): PeerChange => ({ kind: 'removed', peer: old }));
  const changed: PeerChange[] = [];
  const added: PeerChange[] = [];
  for (const now of after) {
    const old = predecessor.get(now);
    if (!old) added.push({ kind: 'added', peer: now });
    else if (!samePeer(old, now)) changed.push({ kind: 'changed', peer: now, before: old });
  }
  return [...removed, ...changed, ...added];
}

function samePeer(a: Peer, b: Peer): boolean {
  return a.id === b.id && a.nodeId === b.nodeId && sameList(a.urls, b.urls) && sameList(a.sources, b.sources);
}
const sameList = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((value, i) => value === b[i]);
