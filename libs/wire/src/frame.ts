import type { CopyExtent, CopyPoint } from '@pgmesh/core';

/**
 * A window on the wire is a sequence of frames: `window`, then for each table `rows` (small: one array literal a column) or
 * `copy`, `data`…, `copied` (large: PostgreSQL's COPY text), and `end`. A stream that lacks its `end` was cut off and counts
 * for nothing. Column values are the text of the source's PostgreSQL, made there and read by the receiver's; nothing in
 * between looks into them (invariant 8).
 */
export type Frame = WindowFrame | RowsFrame | CopyFrame | DataFrame | CopiedFrame | EndFrame;

/**
 * The versions' own columns, which precede the table's in every `rows` and `copy` frame. `made_in` and `made_xid` say where the version
 * was made (libs/core: Made); NULL and a number: in the sender's feed.
 */
export const versionColumns = [
  'stamp',
  'origin',
  'priority',
  'past',
  'fields',
  'siblings',
  'deleted',
  'made_in',
  'made_xid',
] as const;

export interface WindowFrame {
  readonly type: 'window';
  readonly protocol: number;
  /** The sender, and the incarnation of its feed. */
  readonly node: string;
  readonly epoch: string;
  /** `window`: all between two snapshots. `copy`: a piece of a first copy, by primary key. */
  readonly kind: 'window' | 'copy';
  /** `xmax:xip,…` The receiver takes a window only when its own position includes `from`. For a copy: both are the snapshot read. */
  readonly from: string;
  readonly to: string;
  /** What it may have rows of, where that is more than `to`: of a transaction of which others are held back, or rows that come alone. */
  readonly reached?: string;
  /** Whether there was more than fitted into this window. */
  readonly more: boolean;
  /** The tables over which the window was read. */
  readonly tables: readonly string[];
  /** For a copy: where this piece started (null: at the beginning), and where the next one does (null: this was the last). */
  readonly at: CopyPoint | null;
  readonly next: CopyPoint | null;
  /** Whether there was more that is left for others to bring. */
  readonly held?: boolean;
  /** What the sender knew as of the snapshot that was read, whether or not the window is the whole (invariant 9). */
  readonly knowledge: WireKnowledge;
  /** Of which origins every write that the sender had seen is with the reader, once it has merged the window (libs/core: Seen). */
  readonly seen?: WireSeen;
  /** What who reads these tables must know, table by table (libs/core: Guards); for a copy, tables without are left out. */
  readonly guards: WireGuards;
  /** For a copy: the tables of which it has every row, so that what it does not have is not there. */
  readonly whole: readonly string[];
  /** For a copy: how many rows this piece goes past; with its first piece also about how many there are. */
  readonly extent?: CopyExtent;
}

export interface RowsFrame {
  readonly type: 'rows';
  readonly table: string;
  /** The table's columns, without `versionColumns`; the primary key's first. */
  readonly columns: readonly string[];
  /** Their types under their domains, one for each: a value that would not arrive as it is must not be taken. */
  readonly types?: readonly string[];
  readonly count: number;
  /** How many of them are tombstones. */
  readonly deleted: number;
  /** One PostgreSQL array literal a column: `versionColumns`, then `columns`. */
  readonly literals: readonly string[];
}

export interface CopyFrame {
  readonly type: 'copy';
  readonly table: string;
  readonly columns: readonly string[];
  readonly types?: readonly string[];
}

/** A piece of COPY text, cut anywhere. */
export interface DataFrame {
  readonly type: 'data';
  readonly bytes: Uint8Array;
}

export interface CopiedFrame {
  readonly type: 'copied';
  readonly table: string;
  readonly count: number;
}

export interface EndFrame {
  readonly type: 'end';
  readonly rows: number;
}

/** By origin, `node~incarnation`: a snapshot, `xmax:xip,…` */
export type WireSeen = Readonly<Record<string, string>>;

/** By table; `at` is `epoch/xmax:xip,…`. */
export type WireGuards = Readonly<
  Record<string, readonly (readonly { readonly node: string; readonly at: string }[])[]>
>;

/** By node id: how far the sender has read in that node's feed, over which tables. `cursor` is `epoch/xmax:xip,…`. */
export type WireKnowledge = Readonly<Record<string, { readonly cursor: string; readonly tables: readonly string[] }>>;
