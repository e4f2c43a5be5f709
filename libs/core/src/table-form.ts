import { textDigest } from './digest';

/** A table as its node tells peers of it: as much as they need to judge whether its rows fit into theirs. */
export interface TableForm {
  /** The columns of the primary key, in its order. */
  readonly key: readonly string[];
  readonly columns: readonly ColumnForm[];
}

export interface ColumnForm {
  readonly name: string;
  /** As PostgreSQL prints it, with its modifier: `character varying(20)`. */
  readonly type: string;
  /** The same under its domains, whose values are those of this type. */
  readonly base: string;
  /** Every node computes it for itself; it is not sent. */
  readonly generated: boolean;
  /** Whether a row may be inserted without it: it is nullable, or has a default. */
  readonly optional: boolean;
  /** What follows the type in a definition of the column: `NOT NULL DEFAULT 0`; empty where nothing does. */
  readonly more: string;
}

/** What peers are told of a table, with digests by which they see at a glance whether theirs is the same. */
export interface DigestedForm {
  readonly form: TableForm;
  readonly digest: string;
  /** What keeps rows out of it besides (see constraintsOf). */
  readonly constraints: readonly string[];
  readonly constraintsDigest: string;
}

/** Two tables of one digest fit each other in both directions: of what `shapeDrifts` looks at. */
export function formDigest({ key, columns }: TableForm): string {
  const told = columns.map(({ name, base, generated, optional }) => [name, base, generated, optional] as const);
  const sorted = told.sort(([a], [b]) => (a < b ? -1 : 1));
  return textDigest(JSON.stringify([key, sorted]));
}

/** Any name as an identifier in a statement for people. */
export function quoteIdent(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) && !reserved.has(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

/** PostgreSQL 18's reserved words (Appendix C), those that may name functions or types included. */
const reserved = new Set(
  `all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation column
  concurrently constraint create cross current_catalog current_date current_role current_schema current_time
  current_timestamp current_user default deferrable desc distinct do else end except false fetch for foreign freeze from
  full grant group having ilike in initially inner intersect into is isnull join lateral leading left like limit localtime
  localtimestamp natural not notnull null offset on only or order outer overlaps placing primary references returning right
  select session_user similar some symmetric system_user table tablesample then to trailing true union unique user using
  variadic verbose when where window with`.split(/\s+/),
);
