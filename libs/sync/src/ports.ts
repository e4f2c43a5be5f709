import type {
  DigestedForm,
  DigestedRange,
  DigestRange,
  FeedRequest,
  HeldRow,
  Knowledge,
  Member,
  MemberHead,
  Position,
  References,
  Remedy,
  Rules,
  Seen,
  Slot,
} from '@pgmesh/core';
import type { Frame, WindowFrame } from '@pgmesh/wire';

/** Who we are: the node, and the incarnation of its database, which is the epoch of its feed. */
export interface Identity {
  readonly nodeId: string;
  readonly epoch: string;
}

/** Rows that others are expected to bring a reader sooner. */
export interface Later {
  /** Those that came here by way of these nodes, or were written by them: the reader is linked to them itself. */
  readonly nodes: readonly string[];
  /** Those of these origins. */
  readonly origins: readonly string[];
  /** What came here in transactions below this one has been waited for long enough. */
  readonly from: bigint;
}

export interface FeedOptions {
  readonly except: (ours: Knowledge) => readonly string[];
  /** Of which transactions of which origins the reader has every write. */
  readonly seen?: Seen;
  readonly later?: Later | null;
  readonly limit: number;
  /** What the reader knows of all feeds: whether it may read on is judged by it. */
  readonly reader?: Knowledge;
}

/** Our own changes, as peers read them. */
export interface Feed {
  /**
   * Opens a window or a piece of a first copy over those of the request's tables that we share.
   * @param except judges, by what we knew when the window's snapshot was taken, of which nodes the reader has all rows
   *   already: what came by way of them is left out where it was merged unchanged. A row whose state was merged of what they sent and what was here is our own: they lack our part of it. What
   *   came by way of a node is forgotten to have done so when that node's feed is begun anew (another epoch): it may have
   *   lost it.
   * @param later rows that are held back: the window's end names their transactions as still to come, so that nothing is skipped and
   *   nothing else waits for them. Not with a first copy.
   * @param limit rows after which to stop, at a boundary between transactions
   * @throws Problem `gone` when deletions that the reader has not come past are forgotten, `unavailable` when the database is away, `cloned_node` when the position lies in the feed's future
   */
  open(request: FeedRequest, options: FeedOptions): Promise<OutgoingWindow>;
  /** Calls back soon after any commit that changed a shared table, whoever made it, and after each window that was applied. */
  onNews(listener: () => void): () => void;
}

/** A window that is about to be sent. It holds a snapshot of the database open until it was read or closed. */
export interface OutgoingWindow {
  readonly head: WindowFrame;
  /** How many rows it has; for a first copy an upper bound. */
  readonly rows: number;
  /** Of these, rows written on this node rather than received from another. */
  readonly own: number;
  /** Whether rows were held back. */
  readonly held: boolean;
  /** The origins of rows in it that would have been held back, had they not been waited for long enough. */
  readonly overdue: readonly string[];
  /** Our transactions from here on came too late for it. */
  readonly end: bigint;
  /** All frames, head and end included. Reading them to the end closes the window. */
  frames(): AsyncIterable<Frame>;
  close(): Promise<void>;
}

/** Under which incarnation a node talks to us just now; null when it does not. */
export type InTouch = (node: string) => string | null;

/** What peers send, merged into our tables. */
export interface Inbox {
  /**
   * Applies one window in one transaction. Windows are applied one after another. What its sender knew of other feeds is learned.
   * @param inTouch which nodes need not be learned of under another incarnation: they talk to us
   * @throws Problem `behind` (its sender has not heard of deletions that are forgotten here), `cloned_node`, `clock_drift`, `unknown_column`, `invalid_value`, `invalid_version` when the window cannot be taken as it
   *   is; `busy` when its rows stayed locked; `unavailable` when the database is away. Nothing has changed then.
   */
  apply(frames: AsyncIterable<Frame>, inTouch?: InTouch): Promise<Applied>;
  /** Where we stand in a peer's feed; null when we never read it. */
  position(node: string): Promise<Position | null>;
  /** From now on these tables are copied from that node anew. False when we do not follow any of them there. */
  copyAnew(node: string, tables: readonly string[]): Promise<boolean>;
  /** How far we have come in every feed. A node of which a first copy is under way is left out: we hold more of it than we say. */
  knowledge(): Promise<Knowledge>;
  /** What of each origin's own writes is here, in all shared tables. */
  seen(): Promise<Seen>;
}

/** What a table is compared by with another node's: columns that both have, and whether keys are in the order of its index. */
export interface Comparison {
  readonly table: string;
  readonly columns: readonly string[];
  /** Rows that stand by the last write count as written over all that lost, also those that have yet to let go of it. */
  readonly settled: boolean;
  readonly byIndex: boolean;
}

/** Our rows and their versions as digests, and what is done about those that another node holds otherwise. Keys are PostgreSQL's text. */
export interface RowDigests {
  /** Names the order in which an index has the table's keys: nodes with one name have the same. Null where there is none to go by. */
  order(table: string): Promise<string | null>;
  /** Whether the last write stands in every row of the table. */
  settled(table: string): Promise<boolean>;
  /** @throws Problem `bad_request` for keys that are none of the table's, `not_found` for a table that is not shared */
  read(comparison: Comparison, ranges: readonly DigestRange[]): Promise<DigestedRange[]>;
  /** The key at which a range of `rows` rows from `from` on ends; null at the table's end. */
  endOf(comparison: Comparison, from: readonly string[] | null, rows: number): Promise<readonly string[] | null>;
  /** How rows are held, in the order of the keys, and the snapshot that showed them so, as `xmax:xip,…`. */
  held(
    comparison: Comparison,
    keys: readonly (readonly string[])[],
  ): Promise<{ readonly snapshot: string; readonly rows: readonly HeldRow[] }>;
  /** The rows of these keys, in a window that connects wherever its reader stands and moves nobody. */
  open(table: string, keys: readonly (readonly string[])[]): Promise<OutgoingWindow>;
  /**
   * Gives rows versions of their own as they are, where they are held as `digest` says. `meanwhile` runs when they are locked.
   * @returns how many there were
   * @throws Problem `busy`
   */
  settle(
    comparison: Comparison,
    remedies: readonly {
      readonly key: readonly string[];
      readonly digest: string;
      readonly remedy: Exclude<Remedy, 'none'>;
    }[],
    meanwhile?: () => Promise<void>,
  ): Promise<number>;
}

/** A version's name, with the node in it. */
export interface NamedVersion {
  readonly stamp: number;
  readonly origin: string;
  readonly node_id: string;
}

/** A row that has several concurrent versions, and how it stands meanwhile. */
export interface ConflictNote {
  /** Of its record on this node. */
  readonly id: number;
  /** `schema.table` */
  readonly table: string;
  /** Column → PostgreSQL's text. */
  readonly key: Readonly<Record<string, string>>;
  readonly rule: { readonly strategy: string; readonly resolver: string | null; readonly prefix: string | null };
  /** The strategy by which the row stands; `last-write-wins` while somebody has to decide. */
  readonly decided_by: string;
  /** Why somebody has to decide; null when nobody has to. */
  readonly open: string | null;
  /** `composed`: the row is made of several versions, and bears the name of the highest. */
  readonly winner: NamedVersion & { readonly composed: boolean };
}

export type Applied =
  | {
      readonly outcome: 'applied';
      readonly head: WindowFrame;
      /** Rows in the window; of these, rows that changed something here. */
      readonly rows: number;
      readonly changed: number;
      readonly conflicts: number;
      /** The conflicts one by one, at most a thousand of a window. */
      readonly noted: readonly ConflictNote[];
      /** Rows that changed something, by table. */
      readonly tables: Readonly<Record<string, number>>;
      /** The origins of which rows were here already, in these very versions. */
      readonly repeated: readonly string[];
      readonly position: Position;
    }
  /** The window starts after our position, or belongs to another copy: the sender goes on from `position`. */
  | { readonly outcome: 'gap'; readonly head: WindowFrame; readonly position: Position | null };

/** A row that does not stand in its table beside the others, or that no longer waits to. */
export interface ParkedNote {
  /** Of its record on this node. */
  readonly id: number;
  /** `schema.table` */
  readonly table: string;
  /** Column → PostgreSQL's text. */
  readonly key: Readonly<Record<string, string>>;
  /** What keeps it out: another row has its key, a row that it refers to is not there, or the table refuses it. */
  readonly reason: 'key' | 'reference' | 'refused';
  readonly constraint: string | null;
  /** A sentence. */
  readonly message: string;
}

/** What has changed of the parked rows, in one transaction. */
export interface ParkingChange {
  readonly parked: readonly ParkedNote[];
  /** They stand. */
  readonly returned: readonly ParkedNote[];
  /** They were deleted. */
  readonly discarded: readonly ParkedNote[];
}

/** What was known of a member before and after a change; null where it was nothing. */
export interface MemberChange {
  readonly before: MemberHead | null;
  readonly after: MemberHead;
}

/** What a member lacks of our feed, as far as it has claimed. */
export interface MemberLag {
  readonly rows: number;
  /** Whether there are more than were counted. */
  readonly more: boolean;
  /** When the first of them was written. */
  readonly since: Date | null;
  /** Since when it keeps a tombstone of ours, or what has lost to the last write, from being dropped; null where it does not. */
  readonly holdsUpSince: Date | null;
}

/** The members of the mesh that we have heard of, ourselves included; all of it can be seen by others only when it is on disk. */
export interface Members {
  heads(): Promise<readonly MemberHead[]>;
  /** @param nodeIds all members unless given */
  list(nodeIds?: readonly string[]): Promise<readonly Member[]>;
  /** Joins what was heard of members with what is known of them. Returns what has changed. */
  join(members: readonly Member[]): Promise<readonly MemberChange[]>;
  /** Changes what is known of one. Null when there is no such member, or nothing to change. */
  change(nodeId: string, rule: (member: Member) => Member): Promise<MemberChange | null>;
  /** Claims how far we have come, where others wait for it, or `anew` in any case. Null where nothing was claimed. */
  claim(now: number, anew: boolean): Promise<MemberChange | null>;
  lag(member: Member): Promise<MemberLag>;
}

/** One line of the record of what was exchanged. */
export interface SyncRecord {
  readonly peer: string;
  readonly direction: 'pull' | 'push' | 'received';
  readonly kind: 'window' | 'copy';
  readonly rows: number;
  readonly changed: number;
  readonly conflicts: number;
  readonly started_at: Date;
  readonly duration_ms: number;
  readonly error: string | null;
}

export interface SyncHistory {
  add(record: SyncRecord): Promise<void>;
  /** The latest first. */
  list(limit: number): Promise<SyncRecord[]>;
}

/** What is remembered of a table's deletions and conflicts. */
export interface Tombstones {
  /** `schema.table` */
  readonly table: string;
  /** Deletions. */
  readonly kept: number;
  /** Rows with versions that have lost to the last write. */
  readonly settled: number;
  /** The members that have yet to hear of some of these, or may settle conflicts otherwise. */
  readonly held_up_by: readonly string[];
  /** Up to where in our feed deletions have been forgotten, as a cursor; null where none has been. */
  readonly horizon: string | null;
}

/** What the mesh needs of a node's database. */
export interface Store {
  readonly identity: Identity;
  readonly feed: Feed;
  readonly inbox: Inbox;
  readonly history: SyncHistory;
  readonly digests: RowDigests;
  readonly members: Members;
  /** Whether no other process speaks for this database by now. One that stood still for long has to find out first. */
  readonly leads: boolean;
  /** How conflicts are decided here. */
  readonly rules: Rules;
  /** Which numbers we draw for serial keys; null while our sequences are not interleaved. */
  readonly slot: Slot | null;
  /** Calls back after rows were parked, are back, or are no more. Returns what ends that. */
  onParking(listener: (change: ParkingChange) => void): () => void;
  /** Forgets deletions that all members have come past. Returns how many, by table. @throws Problem `unavailable` */
  collect(): Promise<Readonly<Record<string, number>>>;
  tombstones(): Promise<readonly Tombstones[]>;
  /** The names of the tables that we share, `schema.table`, sorted. */
  tables(): readonly string[];
  /** The foreign keys between them. */
  references(): References;
  /** What peers are told of these tables; another map whenever one of them has been altered. */
  forms(): ReadonlyMap<string, DigestedForm>;
  /** Looks whether one was altered, now. @throws Problem `unavailable` */
  refreshForms(): Promise<void>;
  /** Calls back when `forms` is another, soon after a table was altered. Returns what ends that. */
  onForms(listener: () => void): () => void;
}
