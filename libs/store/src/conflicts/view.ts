import { describeOpen, type OpenReason, type RowImage, vectorOf } from '@pgmesh/core';
import type { VersionName } from '../decide';
import type { TableShape } from '../table-shape';
import type { ConflictFacts, RecordedConflict, RecordedVersion, Winner } from './record';

/** A record of p2p.conflict as it is read. */
export interface ConflictRow extends ConflictFacts {
  readonly id: number;
  readonly table_id: number;
  readonly opened_at: Date;
  readonly updated_at: Date;
  readonly ended_at: Date | null;
  readonly ended_by: VersionName | null;
  readonly versions: readonly RecordedVersion[];
  readonly left_out: number;
}

/** A version's name, with the node in it. */
export interface NamedVersion extends VersionName {
  readonly node_id: string;
}

/** One of the versions of a conflict, as people are shown it. */
export interface VersionView extends NamedVersion {
  /** The stamp as a time, in ISO 8601. */
  readonly at: string;
  readonly priority: number;
  /** For each origin the highest stamp that the writer had seen, its own included. */
  readonly vector: Readonly<Record<string, number>>;
  readonly deleted: boolean;
  /** Column → PostgreSQL's text; null where the row was deleted. */
  readonly row: RowImage | null;
}

/** What is told of a conflict wherever it is told. */
export interface ConflictNote {
  readonly id: number;
  /** `schema.table` */
  readonly table: string;
  /** Column → PostgreSQL's text. */
  readonly key: Readonly<Record<string, string>>;
  readonly rule: { readonly strategy: string; readonly resolver: string | null; readonly prefix: string | null };
  /** The strategy by which the row stands; `last-write-wins` while somebody has to decide. */
  readonly decided_by: string;
  /** Why somebody has to decide, as a sentence; null when nobody has to. */
  readonly open: string | null;
  /** `composed`: the row is made of several versions, and bears the name of the highest. */
  readonly winner: NamedVersion & { readonly composed: boolean };
}

/** A conflict as JSON: snake_case, times in ISO 8601. */
export interface ConflictView extends ConflictNote {
  /** `open` while somebody has to decide. */
  readonly status: 'open' | 'settled';
  readonly opened_at: string;
  readonly updated_at: string;
  /** When a version was found that covers all; null while the row still has several. */
  readonly ended_at: string | null;
  readonly ended_by: NamedVersion | null;
  /** All that were ever part of the set, in their order. */
  readonly versions: readonly VersionView[];
  /** How many old ones are missing there: a hundred are kept besides those of the present set. */
  readonly versions_left_out: number;
}

export function noteOf(shape: TableShape, { id, ...facts }: RecordedConflict): ConflictNote {
  const { key, strategy, resolver, prefix, decided_by, open, winner } = facts;
  return {
    id,
    table: shape.name,
    key: Object.fromEntries(shape.key.map(({ name }, i) => [name, key[i]!])),
    rule: { strategy, resolver, prefix },
    decided_by,
    open: open && sentenceOf(open),
    winner: { ...named<Winner>(winner), composed: winner.composed },
  };
}

export function viewOf(shape: TableShape, record: ConflictRow): ConflictView {
  const { ended_at, ended_by, versions, left_out } = record;
  const note = noteOf(shape, record);
  // What was open is nobody's to decide once it has ended.
  const isOpen = record.open !== null && ended_at === null;
  const sorted = [...versions].sort((a, b) => a.stamp - b.stamp || (a.origin < b.origin ? -1 : 1));
  return {
    ...note,
    open: isOpen ? note.open : null,
    status: isOpen ? 'open' : 'settled',
    opened_at: record.opened_at.toISOString(),
    updated_at: record.updated_at.toISOString(),
    ended_at: ended_at?.toISOString() ?? null,
    ended_by: ended_by && named(ended_by),
    versions: sorted.map(versionView),
    versions_left_out: left_out,
  };
}

export function versionView(version: Omit<RecordedVersion, 'fields'>): VersionView {
  const { stamp, priority, deleted, image } = version;
  const vector = vectorOf({ ...version, past: version.past ?? {} });
  return { ...named(version), at: new Date(stamp / 1000).toISOString(), priority, vector, deleted, row: image };
}

function named<Version extends VersionName>({ stamp, origin }: Version): NamedVersion {
  return { stamp, origin, node_id: origin.split('~')[0]! };
}

function sentenceOf(open: OpenReason): string {
  return `${describeOpen(open)} The last write stands until somebody decides.`;
}
