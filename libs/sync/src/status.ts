import type { ConstraintDifference, Slot, SlotClash } from '@pgmesh/core';
import type { CopyState } from './copy-watch';
import type { LinkReason } from './link-choice';

/**
 * `connecting`: not greeted yet. `live`: reading its feed and bringing it ours. `retrying`: an exchange failed, and is tried
 * again soon. `unreachable`: nothing answers; tried at the interval. `paused`: it refuses, or we refuse what it sends; tried
 * at the interval, `last_error` says what to do. `self`: the address leads back to ourselves. `idle`: known, and not linked to:
 * others bring its changes. `left`: no longer listed.
 */
export type LinkState = 'connecting' | 'live' | 'retrying' | 'unreachable' | 'paused' | 'self' | 'idle' | 'left';

export interface LinkStatus {
  /** Null until it answered for the first time. */
  readonly node_id: string | null;
  readonly url: string;
  readonly state: LinkState;
  /** Why it is linked to; null where it is not, or not for long any more. */
  readonly reason: LinkReason | null;
  /** ISO 8601: the last exchange that worked. */
  readonly last_sync: string | null;
  readonly last_error: { readonly code: string; readonly detail: string; readonly at: string } | null;
  /** Where we stand in its feed: `epoch/xmax:xip,…` */
  readonly position: string | null;
  /** The first copy of its tables that we are reading: the table and the key reached, and how far that is. */
  readonly copying: ({ readonly table: string; readonly after: readonly string[] | null } & CopyState) | null;
  /** Since how many ms there may be changes of ours that it was not brought; 0 when it has everything. */
  readonly lag_ms: number;
  readonly failures: number;
  /** Where it decides conflicts otherwise than we do: while there is anything, such rows may differ for good. */
  readonly rules_differ: readonly RulesDiffer[];
  /** Of which tables it keeps out other rows than we do: while there is anything, the two may park different rows. */
  readonly constraints_differ: readonly ConstraintDifference[];
  /** Which numbers it draws for serial keys, and how that clashes with ours; null while it has told of none. */
  readonly sequences: (Slot & { readonly clash: SlotClash | null }) | null;
  /** How our rows compared with its, when they were compared last; null while they have not been since the start. */
  readonly compared: LastCompared | null;
  /** The tables that are kept out of the exchange with it; all others go on. */
  readonly paused_tables: readonly PausedTable[];
}

/** The outcome of the last comparison with a peer (docs/verify.md). */
export interface LastCompared {
  /** ISO 8601 */
  readonly at: string;
  /** Rows of all tables that were compared. */
  readonly rows: number;
  /** Rows that differ, and were not repaired. */
  readonly differ: number;
  readonly repaired: number;
  /** Those that differ, by table; tables without any are left out. */
  readonly tables: Readonly<Record<string, number>>;
}

/** A table of which rows of one node would lose values in the other's table. It resumes by itself when that has ended. */
export interface PausedTable {
  /** `schema.table` */
  readonly table: string;
  /** `pull`: its rows are not taken from the peer; `push`: the peer cannot take ours. */
  readonly direction: 'pull' | 'push';
  /** The columns that are in the way, by name. */
  readonly columns: readonly string[];
  readonly reason: string;
  /** What to run, and where. */
  readonly remedy: string;
}

/** A place where two nodes have different rules, and what each has there (libs/core: formatRules). */
export interface RulesDiffer {
  /** `schema.table`; null for all tables. */
  readonly table: string | null;
  readonly prefix: string | null;
  readonly ours: string;
  readonly theirs: string;
}

export interface MeshStatus {
  readonly node_id: string;
  readonly epoch: string;
  readonly room: string;
  readonly tables: readonly string[];
  /** Which numbers this node draws for serial keys; null while its sequences are not interleaved. */
  readonly sequences: Slot | null;
  readonly active_peers: number;
  /** The nodes that hold a live link to us, whether we can dial them or not. */
  readonly linked_by: readonly string[];
  readonly last_sync: string | null;
  /** Whether a first copy is under way or changes wait to be sent over a live link. */
  readonly sync_running: boolean;
  readonly peers: readonly LinkStatus[];
}
