/** A row as PostgreSQL prints it: column → text. */
export type Row = Readonly<Record<string, string | null>>;

/** `nocase` is text of a collation for which a is A; citext is the type for it. */
export type ColumnType = 'int' | 'numeric' | 'uuid' | 'text' | 'nocase' | 'citext';

export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  readonly notNull: boolean;
  readonly preset: string | null;
  /** Of a domain over the type. */
  readonly domain?: boolean;
  /** GENERATED … AS IDENTITY: what nobody sets, or what is left out now and then. */
  readonly identity?: 'ALWAYS' | 'BY DEFAULT';
  /** GENERATED ALWAYS AS (…) STORED: never sent. */
  readonly generated?: Part;
}

/** What a key compares: a column or an expression, in SQL and in JavaScript. */
export interface Part {
  readonly sql: string;
  readonly of: (row: Row) => string | null;
}

/** What a key or a check asks of a row, in SQL and in JavaScript; SQL's unknown is null. */
export interface Condition {
  readonly sql: string;
  readonly holds: (row: Row) => boolean | null;
}

/** A unique constraint or index, or an exclusion constraint. */
export interface KeyRule {
  readonly name: string;
  readonly ddl: string;
  /** The columns of a plain unique constraint that references may name; null for all others. */
  readonly referable: readonly string[] | null;
  /** The partition whose own it is. */
  readonly partition?: Partition;
  /** Whether two rows cannot stand beside each other. */
  readonly collide: (a: Row, b: Row) => boolean;
  /** Whether a row can have the key at all: a range may raise. */
  readonly takes: (row: Row) => boolean;
}

export interface ReferenceRule {
  readonly name: string;
  readonly ddl: string;
  readonly columns: readonly string[];
  readonly parent: string;
  readonly parentColumns: readonly string[];
  readonly full: boolean;
  /** The partitions that it is about, where it is not about all rows. */
  readonly from?: Partition;
  readonly to?: Partition;
}

export interface Partition {
  readonly name: string;
  readonly bounds: string;
  /** Unknown of partitions by hash, which have no constraints of their own here. */
  readonly takes: ((row: Row) => boolean) | null;
}

export interface Partitioning {
  readonly by: 'LIST' | 'RANGE' | 'HASH';
  /** Of the primary key. */
  readonly column: string;
  readonly partitions: readonly Partition[];
}

/** A trigger that raises for rows of which its condition does not hold. */
export interface Guard extends Condition {
  /** It sees rows that others have written, too. */
  readonly always: boolean;
  readonly when: 'BEFORE' | 'AFTER' | 'DEFERRED';
}

export type Strategy = 'last-write-wins' | 'first-write-wins' | 'node-priority' | 'merge-fields';

/** How a table's conflicts are decided from now on. */
export interface RuleChange {
  readonly table: string;
  readonly strategy: Strategy;
}

export interface Table {
  readonly name: string;
  readonly columns: readonly Column[];
  readonly key: readonly string[];
  readonly keys: readonly KeyRule[];
  readonly references: readonly ReferenceRule[];
  readonly checks: readonly Condition[];
  readonly guards: readonly Guard[];
  readonly partitioning: Partitioning | null;
  readonly strategy: Strategy;
}

export interface Schema {
  readonly tables: readonly Table[];
  /** By how many microseconds the clock of each node is ahead. */
  readonly skew: readonly number[];
  readonly priority: readonly number[];
  /** Microseconds from one stamp that the clocks show to the next: writes of several nodes may have one stamp. */
  readonly grain: number;
}

/** The schema once a rule is another. */
export function ruledBy(schema: Schema, { table, strategy }: RuleChange): Schema {
  return { ...schema, tables: schema.tables.map((one) => (one.name === table ? { ...one, strategy } : one)) };
}

export const tableOf = ({ tables }: Schema, name: string) => tables.find((table) => table.name === name)!;

export function literal(value: string | null): string {
  return value === null ? 'NULL' : `'${value.replace(/'/g, "''")}'`;
}

/** Equal values have equal texts: 1.0 and 1.00 are one number. */
export function canonical(type: ColumnType, value: string | null): string | null {
  if (value === null) return null;
  if (type === 'nocase' || type === 'citext') return value.toLowerCase();
  return type === 'numeric' ? String(Number(value)) : value;
}

/** The row with what its table computes of it. */
export function completed({ columns }: Table, row: Row): Row {
  const made = columns.flatMap(({ name, generated }) => (generated ? [[name, generated.of(row)] as const] : []));
  return { ...row, ...Object.fromEntries(made) };
}

/** A row's primary key, equal for equal keys. */
export function keyOf({ key, columns }: Table, row: Row): string {
  return JSON.stringify(
    key.map((name) => canonical(columns.find((column) => column.name === name)!.type, row[name] ?? null)),
  );
}

/** The values of some columns, equal for equal values. */
export function valuesOf({ columns }: Table, names: readonly string[], row: Row): (string | null)[] {
  return names.map((name) => canonical(columns.find((column) => column.name === name)!.type, row[name] ?? null));
}
