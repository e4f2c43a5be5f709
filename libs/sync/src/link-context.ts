import type { Random } from './backoff';
import type { MeshEvents } from './events';
import type { Instances } from './instances';
import type { Journal } from './journal';
import type { Link } from './link';
import type { Membership } from './membership';
import type { Neighbours } from './neighbours';
import type { Pace } from './pace';
import type { PeerClient } from './peer-client';
import type { Peers } from './peers';
import type { InTouch, Store } from './ports';
import type { Self } from './self';
import type { Turnstile } from './turnstile';

/** Times in milliseconds. */
export interface MeshTimes {
  /** Between greetings, and between pulls that nobody asked for. P2P_SYNC_INTERVAL. */
  readonly interval: number;
  /** How long a peer without a way to us holds our request, at most 60 s. */
  readonly wait: number;
  /** How long rows that the receiver should get from others are held back. */
  readonly hold: number;
  /** How long to wait for a peer to begin its own first copy, before we push it one. */
  readonly grace: number;
  /** How long the first of several that may be copied from waits for the others to answer. */
  readonly gather: number;
  /** The first wait after a failure; later ones grow up to the interval. */
  readonly firstRetry: number;
  /** After how long without an answer the directory is told that a peer is silent. */
  readonly silence: number;
  /** How long a link is kept that stood in for another, once that one is back. */
  readonly linger: number;
  /** After how long a peer that did not answer, and was replaced, counts as one that may. */
  readonly rest: number;
}

/** What all links of a node share. */
export interface LinkContext {
  readonly store: Store;
  readonly self: Self;
  readonly peers: Peers;
  readonly neighbours: Neighbours;
  readonly instances: Instances;
  readonly membership: Membership;
  readonly client: PeerClient;
  readonly events: MeshEvents;
  readonly journal: Journal;
  readonly clock: () => number;
  readonly random: Random;
  readonly times: MeshTimes;
  readonly pace: Pace;
  /** Through which first copies pass. */
  readonly copies: Turnstile;
  /** Rows in a window. P2P_BATCH_SIZE. */
  readonly batch: number;
  /** Quick tries before a peer counts as unreachable. P2P_MAX_RETRIES. */
  readonly retries: number;
  /** The nodes that we have a live link to. */
  readonly links: () => readonly string[];
  readonly inTouch: InTouch;
  /** Told when a link is live, and when nothing answers there. */
  readonly changed: (link: Link) => void;
}

/** The peer at the other end, as long as a session with it lasts. */
export interface Session {
  readonly url: string;
  readonly nodeId: string;
  readonly epoch: string;
  /** The process that answered. */
  readonly instance: string;
  readonly signal: AbortSignal;
}
