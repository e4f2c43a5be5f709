/** A row as PostgreSQL prints it: column → text. */
export type Row = Readonly<Record<string, string | null>>;

export type ColumnType = 'int' | 'numeric' | 'uuid' | 'text';

export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  readonly notNull: boolean;
  readonly preset: string | null;
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
  readonly strategy: Strategy;
}

export interface Schema {
  readonly tables: readonly Table[];
  /** By how many microseconds the clock of each node is ahead. */
  readonly skew: readonly number[];
  readonly priority: readonly number[];
}

/** The schema once a rule is another. */
export function ruledBy(schema: Schema, { table, strategy }: RuleChange): Schema {
  return { ...schema, tables: schema.tables.map((one) => (one.name === table ? { ...one, strategy } : one)) };
}

export const tableOf = ({ tables }: Schema, name: string) => tables.find((table) => table.name === name)!;

/** The tables first, then their keys, then their references: those may go in circles. */
export function ddlOf({ tables }: Schema): string {
  const created = tables.map(({ name, columns, key, checks }) => {
    const listed = columns.map(
      (column) =>
        `${column.name} ${column.type}${column.notNull ? ' NOT NULL' : ''}${column.preset === null ? '' : ` DEFAULT ${literal(column.preset)}`}`,
    );
    const conditions = checks.map(({ sql }) => `CHECK (${sql})`);
    return `CREATE TABLE ${name} (${[...listed, `PRIMARY KEY (${key.join(', ')})`, ...conditions].join(', ')})`;
  });
  return [
    ...created,
    ...tables.flatMap(({ keys }) => keys.map(({ ddl }) => ddl)),
    ...tables.flatMap(({ references }) => references.map(({ ddl }) => ddl)),
  ].join(';\n');
}

export function literal(value: string | null): string {
  return value === null ? 'NULL' : `'${value.replace(/'/g, "''")}'`;
}

/** Equal values have equal texts: 1.0 and 1.00 are one number. */
export function canonical(type: ColumnType, value: string | null): string | null {
  return value === null || type !== 'numeric' ? value : String(Number(value));
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
