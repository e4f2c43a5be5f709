import type { HeldPair } from './row-check';

/** How a table was compared with a peer's. */
export interface ComparedTable {
  /** `schema.table` */
  readonly table: string;
  /**
   * `compared`; or it was not, and `detail` says why: `paused` (rows of one side do not fit into the other's table), `copying` (one of both does not follow the
   * other's changes of it yet), `not_shared` (there).
   */
  readonly state: 'compared' | 'paused' | 'copying' | 'not_shared';
  readonly detail: string | null;
  /** Rows that were compared. */
  readonly rows: number;
  /** Rows that differ in value or version. */
  readonly differ: number;
  /** Of these, rows that are the same by now. */
  readonly repaired: number;
  /** Rows that were written anew each time they were looked at: nothing is said of them. */
  readonly unsettled: number;
  /** The first hundred of those that differ. */
  readonly keys: readonly DifferingRow[];
}

export interface DifferingRow {
  /** PostgreSQL's text, in the order of the primary key's columns. */
  readonly key: readonly string[];
  /**
   * `missing_here`, `missing_there`: one side has nothing of it. `version`: other versions. `value`: the same version, another row in the table.
   * `standing`: the same versions, of which each shows another: other rules, or other constraints.
   */
  readonly how: 'missing_here' | 'missing_there' | 'version' | 'value' | 'standing';
  readonly repaired: boolean;
  /** Why it was not repaired, where that was tried. */
  readonly detail: string | null;
}

/** What is told of a comparison with one peer. */
export interface ComparedPeer {
  readonly peer: string;
  readonly tables: readonly ComparedTable[];
  /** What kept the rest of the tables from being compared. */
  readonly error: { readonly code: string; readonly detail: string } | null;
}

/** How comparing is done. */
export interface CompareOptions {
  /** Whether rows that differ are repaired by an ordinary merge. */
  readonly repair?: boolean;
  /** Rows of a table up to which that is done; all unless given. */
  readonly repairMost?: number;
  /** How long to rest between two ranges of keys, as a multiple of the time that the first took; not at all unless given. */
  readonly rest?: number;
  /** Milliseconds after which rows that are still on their way are let go; 30,000 unless given. */
  readonly patience?: number;
  /** Called with rows that differ before they are repaired, for what an ordinary merge would not do: it may change them here. */
  readonly beforeRepair?: (table: string, rows: readonly HeldPair[]) => Promise<void>;
  /** Told of each table when it was compared. */
  readonly compared?: (peer: string, table: ComparedTable) => void;
  /** Told after each range of keys. */
  readonly progress?: (table: string, rows: number) => void;
}
