import type { Rules } from '@pgmesh/core';
import type { PeerBook } from '@pgmesh/discovery';
import type { ChangesPage, ChangesQuery, ConflictBook } from '@pgmesh/store';
import type { Store } from '@pgmesh/sync';

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
  /** @throws Problem `not_found`, `bad_cursor`, `other_epoch`, `unavailable` */
  changes(table: string, query: ChangesQuery): Promise<Pick<ChangesPage, 'json' | 'count'>>;
  /** How many conflicts were settled here since the node's database was made. */
  conflictsResolved(): Promise<number>;
  /** Findings that a person should know of; rejects with Problem `unavailable` when the database is away. */
  health(): Promise<Readonly<Record<string, unknown>>>;
  close(): Promise<void>;
}
