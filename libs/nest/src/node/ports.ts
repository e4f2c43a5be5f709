import type { PeerBook } from '@pgmesh/discovery';
import type { Store } from '@pgmesh/sync';

/** A page of one table's changes for people. */
export interface ChangesPage {
  /** The whole answer, made by PostgreSQL: values pass through untouched (invariant 8). */
  readonly json: string;
  readonly rows: number;
}

export interface ChangesQuery {
  /** ISO 8601: what changed at or after that time. */
  readonly since?: string;
  /** Where an earlier page ended. */
  readonly cursor?: string;
  readonly limit: number;
}

/** What a node needs of its database: what the mesh needs, and what people ask for. */
export interface NodeStore extends Store {
  readonly peerBook: PeerBook;
  /** @throws Problem `not_found`, `bad_cursor`, `other_epoch`, `unavailable` */
  changes(table: string, query: ChangesQuery): Promise<ChangesPage>;
  /** How many conflicts were settled here since the node's database was made. */
  conflictsResolved(): Promise<number>;
  /** Findings that a person should know of; rejects with Problem `unavailable` when the database is away. */
  health(): Promise<Readonly<Record<string, unknown>>>;
  close(): Promise<void>;
}
