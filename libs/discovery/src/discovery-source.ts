/**
 * The port behind which a way of finding peers lives: by hand and mDNS today, and whatever else can tell an address.
 *
 * A source only says what it sees. Which addresses are one node, and which of them is ourselves, is the directory's
 * to decide, since no source can know what the others have seen.
 */
export interface PeerAddress {
  /** Normalized base URL (see `parsePeerUrl`), without a trailing slash. */
  readonly url: string;
  /** Who is said to be there. A claim, until the node has answered for itself (`PeerDirectory.learn`). */
  readonly nodeId?: string;
  /** The name of the source that says so: `manual`, `mdns`, … */
  readonly source: string;
}

export interface DiscoverySource {
  readonly name: string;
  /** Resolves when the source is at work. Rejects with what is wrong; the directory then goes on without it. */
  start(found: (peer: PeerAddress) => void, lost: (peer: PeerAddress) => void): Promise<void>;
  stop(): Promise<void>;
  /**
   * The peer at this URL has been unreachable for long. A source that has only heard of it (mDNS) lets go of it, and
   * finds it again when it next speaks; a source that was told of it (by hand) has no such method and keeps it.
   */
  forget?(url: string): void;
}

/** Where warnings go: said once, for a person to act upon. */
export type Warn = (message: string) => void;
