import type { Random } from '../convergence/random';
import {
  canonical,
  type Column,
  type ColumnType,
  type Condition,
  type KeyRule,
  type Part,
  type ReferenceRule,
  type Row,
  type RuleChange,
  type Schema,
  type Strategy,
  type Table,
} from './schema';

/** Few values, so that rows meet. */
export const domains: Readonly<Record<ColumnType, readonly string[]>> = {
  int: ['1', '2', '3', '4'],
  numeric: ['1', '1.0', '2', '2.00', '3'],
  uuid: [1, 2, 3].map((digit) => `0000000${digit}-0000-4000-8000-000000000000`),
  text: ['a', 'b', 'A', 'c'],
};

const types: readonly ColumnType[] = ['int', 'int', 'numeric', 'uuid', 'text'];

type Draft = { -readonly [Name in keyof Table]: Table[Name] extends readonly (infer Of)[] ? Of[] : Table[Name] };

/** Tables with constraints of all kinds, the same for the same numbers. */
export function generateSchema(random: Random): Schema {
  const tables = random.times(2, 4, () => 0).map((_, i) => draft(random, `t${i + 1}`));
  for (const table of tables) {
    // Where the older row stands, there is something to stand for.
    const least = table.strategy === 'first-write-wins' ? 1 : 0;
    for (const [i, make] of random.times(least, 2, () => random.pick(keyKinds)).entries()) {
      table.keys.push(make(random, table, `${table.name}_key${i + 1}`));
    }
  }
  const count = random.between(tables.length - 1, tables.length + 2);
  for (let i = 0; i < count; i++) {
    const child = random.pick(tables);
    const parent = random.chance(0.2) ? child : random.pick(tables);
    child.references.push(reference(random, child, parent, `${child.name}_ref${i + 1}`));
  }
  return {
    tables,
    skew: [0, 0, random.chance(0.4) ? 5_000_000 : 0],
    priority: random.times(3, 3, () => random.between(0, 1)),
  };
}

function draft(random: Random, name: string): Draft {
  const column = (of: string, type: ColumnType, notNull = false): Column => ({
    name: of,
    type,
    notNull,
    preset: random.chance(0.15) ? random.pick(domains[type]) : null,
  });
  const key = random.chance(0.25) ? ['k1', 'k2'] : ['k1'];
  const columns = [
    ...key.map((of) => ({ ...column(of, random.pick(types), true), preset: null })),
    column('n', 'int', random.chance(0.2)),
    column('m', 'int'),
    column('t', 'text', random.chance(0.1)),
    ...(random.chance(0.3) ? [column('x', random.pick(types))] : []),
  ];
  return {
    name,
    columns,
    key,
    keys: [],
    references: [],
    checks: random.times(0, 1, () => check(random)),
    strategy: strategy(random),
  };
}

function strategy(random: Random): Strategy {
  if (random.chance(0.5)) return 'last-write-wins';
  return random.pick(['merge-fields', 'merge-fields', 'first-write-wins', 'first-write-wins', 'node-priority']);
}

/** Some table's conflicts are decided otherwise. */
export function ruleChange(random: Random, { tables }: Schema): RuleChange {
  return { table: random.pick(tables).name, strategy: strategy(random) };
}

const int = (row: Row, name: string) => (row[name] == null ? null : Number(row[name]));
const compare = (a: number | null, b: number | null, holds: (a: number, b: number) => boolean) =>
  a === null || b === null ? null : holds(a, b);

function check(random: Random): Condition {
  return random.pick<Condition>([
    { sql: 'n < 4', holds: (row) => compare(int(row, 'n'), 4, (a, b) => a < b) },
    { sql: 'n <> m', holds: (row) => compare(int(row, 'n'), int(row, 'm'), (a, b) => a !== b) },
    { sql: 'n <= m', holds: (row) => compare(int(row, 'n'), int(row, 'm'), (a, b) => a <= b) },
    { sql: 'n IS NOT NULL OR t IS NOT NULL', holds: (row) => row.n !== null || row.t !== null },
  ]);
}

const part = ({ name, type }: Column): Part => ({ sql: name, of: (row) => canonical(type, row[name] ?? null) });

const expressions: readonly Part[] = [
  { sql: '(n / 2)', of: (row) => mapped(int(row, 'n'), (n) => String(Math.trunc(n / 2))) },
  { sql: '(n % 2)', of: (row) => mapped(int(row, 'n'), (n) => String(n % 2)) },
  { sql: 'coalesce(n, m)', of: (row) => row.n ?? row.m ?? null },
  { sql: '(n IS NULL)', of: (row) => String(row.n === null) },
  { sql: 'lower(t)', of: (row) => row.t?.toLowerCase() ?? null },
];

const mapped = (value: number | null, map: (value: number) => string) => (value === null ? null : map(value));

const predicates: readonly Condition[] = [
  { sql: 'm > 1', holds: (row) => compare(int(row, 'm'), 1, (a, b) => a > b) },
  { sql: 't IS NOT NULL', holds: (row) => row.t !== null },
  { sql: 'n <> m', holds: (row) => compare(int(row, 'n'), int(row, 'm'), (a, b) => a !== b) },
];

function keyRule(
  name: string,
  ddl: string,
  parts: readonly Part[],
  rest: { predicate?: Condition; nullsEqual?: boolean; referable?: readonly string[] } = {},
): KeyRule {
  const { predicate, nullsEqual = false, referable = null } = rest;
  const isAbout = (row: Row) => predicate === undefined || predicate.holds(row) === true;
  const equal = (a: string | null, b: string | null) => (a === null || b === null ? nullsEqual && a === b : a === b);
  return {
    name,
    ddl,
    referable,
    collide: (a, b) => isAbout(a) && isAbout(b) && parts.every(({ of }) => equal(of(a), of(b))),
    takes: () => true,
  };
}

type KeyKind = (random: Random, table: Draft, name: string) => KeyRule;

const somePlain = (random: Random, { columns }: Draft, low = 1) =>
  shuffled(random, columns).slice(0, random.between(low, 2));

const unique: KeyKind = (random, table, name) => {
  const columns = somePlain(random, table);
  const names = columns.map((column) => column.name);
  const nullsEqual = random.chance(0.3);
  const ddl = `ALTER TABLE ${table.name} ADD CONSTRAINT ${name} UNIQUE ${nullsEqual ? 'NULLS NOT DISTINCT ' : ''}(${names.join(', ')})`;
  return keyRule(name, ddl, columns.map(part), { nullsEqual, referable: names });
};

const deferrable: KeyKind = (random, table, name) => {
  const columns = somePlain(random, table);
  const when = random.pick(['DEFERRED', 'IMMEDIATE']);
  const ddl = `ALTER TABLE ${table.name} ADD CONSTRAINT ${name} UNIQUE (${columns.map((column) => column.name).join(', ')}) DEFERRABLE INITIALLY ${when}`;
  return keyRule(name, ddl, columns.map(part));
};

const partial: KeyKind = (random, table, name) => {
  const columns = somePlain(random, table);
  const predicate = random.pick(predicates);
  const ddl = `CREATE UNIQUE INDEX ${name} ON ${table.name} (${columns.map((column) => column.name).join(', ')}) WHERE ${predicate.sql}`;
  return keyRule(name, ddl, columns.map(part), { predicate });
};

const overExpression: KeyKind = (random, table, name) => {
  const plain = random.chance(0.4) ? somePlain(random, table).slice(0, 1).map(part) : [];
  const parts = [random.pick(expressions), ...plain];
  const nullsEqual = random.chance(0.2);
  const ddl = `CREATE UNIQUE INDEX ${name} ON ${table.name} (${parts.map(({ sql }) => sql).join(', ')})${nullsEqual ? ' NULLS NOT DISTINCT' : ''}`;
  return keyRule(name, ddl, parts, { nullsEqual });
};

const equalExclusion: KeyKind = (random, table, name) => {
  const columns = somePlain(random, table);
  const late = random.chance(0.3) ? ' DEFERRABLE INITIALLY DEFERRED' : '';
  const ddl = `ALTER TABLE ${table.name} ADD CONSTRAINT ${name} EXCLUDE USING btree (${columns.map((column) => `${column.name} WITH =`).join(', ')})${late}`;
  return keyRule(name, ddl, columns.map(part));
};

/** Ranges from n to m; one that ends before it begins raises. */
const rangeExclusion: KeyKind = (random, table, name) => {
  const predicate = random.chance(0.3) ? random.pick(predicates) : undefined;
  const late = random.chance(0.3) ? ' DEFERRABLE' : '';
  const where = predicate ? ` WHERE (${predicate.sql})` : '';
  const ddl = `ALTER TABLE ${table.name} ADD CONSTRAINT ${name} EXCLUDE USING gist (int4range(n, m) WITH &&)${where}${late}`;
  const isAbout = (row: Row) => predicate === undefined || predicate.holds(row) === true;
  const low = (row: Row) => int(row, 'n') ?? -Infinity;
  const high = (row: Row) => int(row, 'm') ?? Infinity;
  return {
    name,
    ddl,
    referable: null,
    collide: (a, b) => isAbout(a) && isAbout(b) && Math.max(low(a), low(b)) < Math.min(high(a), high(b)),
    takes: (row) => !isAbout(row) || low(row) <= high(row),
  };
};

const keyKinds: readonly KeyKind[] = [
  unique,
  unique,
  unique,
  deferrable,
  partial,
  overExpression,
  equalExclusion,
  rangeExclusion,
];

/** New columns for the reference, or such as are there. */
function reference(random: Random, child: Draft, parent: Draft, name: string): ReferenceRule {
  const targets = [parent.key, ...parent.keys.flatMap(({ referable }) => (referable ? [referable] : []))];
  const parentColumns = random.chance(0.6) ? parent.key : random.pick(targets);
  const columns = parentColumns.map((of, i) => {
    const { type: referred } = parent.columns.find((column) => column.name === of)!;
    const type = referred === 'numeric' && random.chance(0.3) ? 'int' : referred;
    const there = child.columns.filter((column) => column.type === type && !(child === parent && column.name === of));
    if (there.length > 0 && random.chance(0.3)) return random.pick(there).name;
    const added: Column = {
      name: `r${child.columns.length}${i}`,
      type,
      notNull: random.chance(0.15),
      preset: random.chance(0.3) ? random.pick(domains[type]) : null,
    };
    child.columns.push(added);
    return added.name;
  });
  const full = random.chance(0.25);
  const actions = ['NO ACTION', 'RESTRICT', 'CASCADE', 'CASCADE', 'SET NULL', 'SET DEFAULT'];
  const late = random.pick(['', '', ' DEFERRABLE', ' DEFERRABLE INITIALLY DEFERRED']);
  const distinct = new Set(columns).size === columns.length ? columns : [columns[0]!];
  const of = distinct.length === columns.length ? parentColumns : null;
  // One column cannot stand for two: such a reference is made anew, of columns of its own.
  if (of === null) return reference(random, child, parent, name);
  const ddl = `ALTER TABLE ${child.name} ADD CONSTRAINT ${name} FOREIGN KEY (${columns.join(', ')}) REFERENCES ${parent.name} (${of.join(', ')})${
    full ? ' MATCH FULL' : ''
  } ON DELETE ${random.pick(actions)} ON UPDATE ${random.pick(actions)}${late}`;
  return { name, ddl, columns, parent: parent.name, parentColumns: of, full };
}

function shuffled<T>(random: Random, all: readonly T[]): T[] {
  const left = [...all];
  return all.map(() => left.splice(random.between(0, left.length - 1), 1)[0]!);
}
