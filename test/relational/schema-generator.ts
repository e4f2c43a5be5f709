import type { Random } from '../convergence/random';
import { check, guard, int } from './conditions';
import { makeKey, ofPartition } from './key-kinds';
import { partitioned } from './partitions';
import type { Column, ColumnType, Part, Partition, ReferenceRule, RuleChange, Schema, Strategy, Table } from './schema';
import { domains, isSet } from './values';

const types: readonly ColumnType[] = ['int', 'int', 'int', 'numeric', 'uuid', 'text', 'text', 'nocase', 'citext'];

type Draft = { -readonly [Name in keyof Table]: Table[Name] extends readonly (infer Of)[] ? Of[] : Table[Name] };

/** Tables with constraints of all kinds, the same for the same numbers. */
export function generateSchema(random: Random): Schema {
  const tables = random.times(2, 4, () => 0).map((_, i) => draft(random, `t${i + 1}`));
  for (const table of tables) addKeys(random, table);
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
    grain: random.chance(0.3) ? 2_000_000 : 1,
  };
}

function draft(random: Random, name: string): Draft {
  const column = (of: string, type: ColumnType, notNull = false): Column => ({
    name: of,
    type,
    notNull,
    preset: random.chance(0.15) ? random.pick(domains[type]) : null,
    domain: random.chance(0.15),
  });
  const key = random.chance(0.3) ? ['k1', 'k2'] : ['k1'];
  const columns = [
    ...key.map((of) => numbered(random, { ...column(of, random.pick(types), true), preset: null })),
    column('n', 'int', random.chance(0.2)),
    column('m', 'int'),
    column('t', 'text', random.chance(0.1)),
    ...(random.chance(0.3) ? [column('x', random.pick(types))] : []),
    ...(random.chance(0.25) ? [computed(random)] : []),
    ...(random.chance(0.15)
      ? [{ ...column('i', 'int', true), preset: null, domain: false, identity: 'ALWAYS' as const }]
      : []),
  ];
  return {
    name,
    columns,
    key,
    keys: [],
    references: [],
    checks: random.times(0, 1, () => check(random)),
    guards: random.chance(0.25) ? [guard(random)] : [],
    partitioning: random.chance(0.3) ? partitioned(random, name, columns[random.between(0, key.length - 1)]!) : null,
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

/** A key that numbers itself, unless it is given. */
function numbered(random: Random, column: Column): Column {
  return column.type === 'int' && !column.domain && random.chance(0.25)
    ? { ...column, identity: 'BY DEFAULT' }
    : column;
}

const computations: readonly (Part & { readonly type: ColumnType })[] = [
  { type: 'int', sql: 'n % 3', of: (row) => (row.n == null ? null : String(Number(row.n) % 3)) },
  { type: 'text', sql: 'lower(t)', of: (row) => row.t?.toLowerCase() ?? null },
  {
    type: 'int',
    sql: 'coalesce(n, 0) + coalesce(m, 0)',
    of: (row) => String((int(row, 'n') ?? 0) + (int(row, 'm') ?? 0)),
  },
];

function computed(random: Random): Column {
  const { type, sql, of } = random.pick(computations);
  return { name: 'g', type, notNull: false, preset: null, generated: { sql, of } };
}

function addKeys(random: Random, table: Draft): void {
  const { name, columns, partitioning } = table;
  const within = columns.find((column) => column.name === partitioning?.column) ?? null;
  // Where the older row stands, there is something to stand for.
  const least = table.strategy === 'first-write-wins' ? 1 : 0;
  for (const i of random.times(least, 2, () => 0).keys()) {
    const ident = `${name}_key${i + 1}`;
    const own = aPartition(random, table, 0.35);
    table.keys.push(
      own
        ? ofPartition(own, makeKey(random, { relation: own.name, columns, within: null }, ident))
        : makeKey(random, { relation: name, columns, within }, ident),
    );
  }
}

/** Now and then, one whose rows we can tell. */
function aPartition(random: Random, { partitioning }: Draft, share: number): Partition | undefined {
  const known = (partitioning?.partitions ?? []).filter(({ takes }) => takes !== null);
  return known.length > 0 && random.chance(share) ? random.pick(known) : undefined;
}

/** New columns for the reference, or such as are there. */
function reference(random: Random, child: Draft, parent: Draft, name: string): ReferenceRule {
  const unique = parent.keys.filter(({ referable }) => referable !== null);
  const to = aPartition(random, parent, 0.15);
  const over = random.chance(0.6)
    ? undefined
    : random.pick([undefined, ...unique.filter((key) => !to || key.partition === to)]);
  const target = over?.partition ?? to;
  const parentColumns = over?.referable ?? parent.key;
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
      domain: random.chance(0.1),
    };
    child.columns.push(added);
    return added.name;
  });
  // One column cannot stand for two: such a reference is made anew, of columns of its own.
  if (new Set(columns).size < columns.length) return reference(random, child, parent, name);
  const full = random.chance(0.25);
  const from = aPartition(random, child, 0.15);
  const late = random.pick(['', '', ' DEFERRABLE', ' DEFERRABLE INITIALLY DEFERRED']);
  const ddl = `ALTER TABLE ${from?.name ?? child.name} ADD CONSTRAINT ${name} FOREIGN KEY (${columns.join(', ')}) REFERENCES ${target?.name ?? parent.name} (${parentColumns.join(', ')})${
    full ? ' MATCH FULL' : ''
  }${actions(random, child, columns)}${late}`;
  return { name, ddl, columns, parent: parent.name, parentColumns, full, from, to: target };
}

function actions(random: Random, child: Draft, columns: readonly string[]): string {
  const some = columns.filter((of) => isSet(child.columns.find(({ name }) => name === of)!));
  const all = ['NO ACTION', 'RESTRICT', 'CASCADE', 'CASCADE', 'SET NULL', 'SET DEFAULT'];
  if (some.length < columns.length) return ` ON DELETE ${random.pick(['NO ACTION', 'RESTRICT', 'CASCADE'])}`;
  const onDelete = random.pick(all);
  const part = onDelete.startsWith('SET') && random.chance(0.4) ? ` (${random.pick(some)})` : '';
  return ` ON DELETE ${onDelete}${part} ON UPDATE ${random.pick(all)}`;
}
