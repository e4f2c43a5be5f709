/** A node that someone told us of, by the addresses at which it may be dialled. */
export interface KnownPeer {
  /** Its node id where that is known, else its URL. */
  readonly id: string;
  readonly nodeId: string | null;
  /** The URL to dial first, and all of them. */
  readonly url: string;
  readonly urls: readonly string[];
  /** Whether somebody named it; taken to be so where nothing is said. */
  readonly byHand?: boolean;
}

/** What the mesh needs of the directory of peers. */
export interface Peers {
  list(): readonly KnownPeer[];
  /** Calls back after the list has changed; returns what ends it. */
  on(event: 'added' | 'removed' | 'changed', listener: () => void): () => void;
  /** Which node answered at a URL. It may be ourselves. */
  learn(url: string, nodeId: string): 'peer' | 'self' | 'unknown';
  /** Nothing has answered at that URL for long. */
  silent(url: string): void;
}
