import type { Rules } from '@pgmesh/core';
import type { PeerBook } from '@pgmesh/discovery';
import type {
  ChangesPage,
  ChangesQuery,
  ConflictBook,
  KeptVersion,
  ParkedBook,
  Restored,
  VersionName,
  WhyView,
} from '@pgmesh/store';
import type { ParkingChange, Store } from '@pgmesh/sync';

/** A row's key as people are shown it: each column with PostgreSQL's text. */
export type ShownKey = Readonly<Record<string, string>>;

/** Single rows of shared tables, by a key as it stands in a URL: plain text, or a JSON array of texts for a key of several columns. */
export interface Rows {
  /** The key as PostgreSQL prints it, whether there is such a row or not. @throws Problem `bad_request`, `unavailable` */
  key(table: string, key: string): Promise<readonly string[]>;
  /** The newest first. @throws Problem `not_found`, `bad_request`, `history_off`, `unavailable` */
  history(table: string, key: string): Promise<{ readonly key: ShownKey; readonly versions: readonly KeptVersion[] }>;
  /** Which node wrote what of it, by which rule it stands, and against what. @throws Problem `not_found`, `bad_request`, `unavailable` */
  why(table: string, key: string): Promise<WhyView>;
  /** An ordinary write. @throws Problem as `history`, and `invalid_value`, `forbidden`, `busy` */
  restore(table: string, key: string, version: VersionName): Promise<Restored & { readonly key: ShownKey }>;
}

/** What a node needs of its database: what the mesh needs, and what people ask for. */
export interface NodeStore extends Store {
  readonly peerBook: PeerBook;
  /** The names of the resolvers that rules may name here. */
  readonly resolvers: readonly string[];
  /**
   * Decides conflicts by other rules from now on; resolves when the rows in conflict stand by them.
   * @throws Problem `invalid_rules`, `unavailable`
   */
  setRules(rules: Rules): Promise<void>;
  /** The rows that have, or had, several concurrent versions. */
  readonly conflicts: Pick<ConflictBook, 'list' | 'find' | 'resolve' | 'countOpen'>;
  /** The rows that do not stand in their tables. */
  readonly parked: Pick<ParkedBook, 'list' | 'find' | 'count' | 'discard' | 'change'>;
  /** Tries all of them anew, and tells what has changed. @throws Problem `busy`, `unavailable` */
  settleParked(): Promise<ParkingChange>;
  /** @throws Problem `not_found`, `bad_cursor`, `other_epoch`, `unavailable` */
  changes(table: string, query: ChangesQuery): Promise<Pick<ChangesPage, 'json' | 'count'>>;
  readonly rows: Rows;
  /** How many conflicts were settled here since the node's database was made. */
  conflictsResolved(): Promise<number>;
  /** Findings that a person should know of; rejects with Problem `unavailable` when the database is away. */
  health(): Promise<Readonly<Record<string, unknown>>>;
  /** Resolves when another process leads in place of this one, which has to be closed then. */
  readonly displaced: Promise<void>;
  close(): Promise<void>;
}
