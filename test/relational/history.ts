import type { Random } from '../convergence/random';
import { ruleChange } from './schema-generator';
import { type Column, literal, type RuleChange, type Schema, type Table } from './schema';
import { domains, isSet } from './values';

/** What happens to three nodes that are apart and meet: each node by its number. */
export type Step =
  | { readonly do: 'write'; readonly node: number; readonly statements: readonly string[] }
  /** So many windows of about so many rows, or all. */
  | {
      readonly do: 'pull';
      readonly from: number;
      readonly to: number;
      readonly limit?: number;
      readonly windows?: number;
    }
  /** Somebody gives up a parked row, the `nth` of them, or writes it otherwise. */
  | { readonly do: 'decide'; readonly node: number; readonly nth: number; readonly n: string | null | undefined }
  /** The node decides a table's conflicts otherwise from now on; when all meet, they go by the last of these. */
  | { readonly do: 'rule'; readonly node: number; readonly change: RuleChange }
  /** The node looks after what it has parked. */
  | { readonly do: 'settle'; readonly node: number }
  /** Until it has done so by itself. */
  | { readonly do: 'wait'; readonly node: number }
  /** It is looked at as it is: windows settle what they touch. */
  | { readonly do: 'check'; readonly node: number };

export function generateHistory(random: Random, schema: Schema): Step[] {
  const node = () => random.between(0, 2);
  const write = (): Step => ({
    do: 'write',
    node: node(),
    statements: random.times(1, random.chance(0.2) ? 8 : 4, () => statement(random, schema)),
  });
  const pull = (): Step => {
    const from = node();
    const some = random.chance(0.25) ? { limit: random.between(1, 4), windows: random.between(1, 4) } : {};
    return { do: 'pull', from, to: (from + random.between(1, 2)) % 3, ...some };
  };
  const decide = (): Step => ({
    do: 'decide',
    node: node(),
    nth: random.between(0, 5),
    n: random.pick([undefined, null, '1', '2', '3']),
  });
  const first: Step = {
    do: 'write',
    node: 0,
    statements: random.times(4, 10, () => insert(random, random.pick(schema.tables))),
  };
  const together: Step[] = random.chance(0.7)
    ? [
        { do: 'pull', from: 0, to: 1 },
        { do: 'pull', from: 1, to: 2 },
      ]
    : [];
  const rest = random.times(8, 24, (): Step[] => {
    if (random.chance(0.6)) return [write()];
    if (random.chance(0.04)) return [{ do: 'rule', node: node(), change: ruleChange(random, schema) }];
    if (random.chance(0.12)) return settled(random, node());
    return [random.chance(0.1) ? decide() : pull()];
  });
  return [first, ...together, ...rest.flat()];
}

/** Because it is asked to, mostly. */
function settled(random: Random, node: number): Step[] {
  if (random.chance(0.25)) return [{ do: 'wait', node }];
  return [
    { do: 'settle', node },
    { do: 'check', node },
  ];
}

function statement(random: Random, schema: Schema): string {
  const kind = random.next();
  const table = random.pick(schema.tables);
  if (kind < 0.43) return insert(random, table);
  if (kind < 0.78) return update(random, table);
  if (kind < 0.965) return `DELETE FROM ${relation(random, table)}${where(random, table)}`;
  if (kind < 0.985) return `SET CONSTRAINTS ALL ${random.pick(['DEFERRED', 'DEFERRED', 'IMMEDIATE'])}`;
  if (random.chance(0.7)) return `TRUNCATE ${relation(random, table)} CASCADE`;
  return `TRUNCATE ${random.pick([table.name, schema.tables.map(({ name }) => name).join(', ')])}`;
}

/** The table, or now and then one of its partitions by its own name. */
function relation(random: Random, { name, partitioning }: Table): string {
  return partitioning && random.chance(0.2) ? random.pick(partitioning.partitions).name : name;
}

function insert(random: Random, table: Table): string {
  const { columns, key } = table;
  const set = columns.filter(isSet);
  const isGiven = (column: Column) => {
    if (column.identity) return random.chance(0.8);
    return key.includes(column.name) || column.notNull || random.chance(0.85);
  };
  const given = set.filter(isGiven);
  if (given.length === 0) return `INSERT INTO ${table.name} DEFAULT VALUES`;
  const rows = random.times(1, 3, () => `(${given.map((column) => value(random, column)).join(', ')})`);
  const over = random.pick(set).name;
  const otherwise = random.pick([
    '',
    '',
    '',
    ' ON CONFLICT DO NOTHING',
    ` ON CONFLICT (${key.join(', ')}) DO UPDATE SET ${over} = excluded.${over}`,
  ]);
  const listed = given.map((column) => column.name).join(', ');
  return `INSERT INTO ${relation(random, table)} (${listed}) VALUES ${rows.join(', ')}${otherwise}`;
}

function update(random: Random, table: Table): string {
  const columns = table.columns.filter(isSet);
  const changed = [...new Set(random.times(1, 2, () => random.pick(columns)))];
  const set = changed.map((column) => {
    if (column.type === 'int' && random.chance(0.4)) {
      return `${column.name} = ${random.pick([`${column.name} % 3 + 1`, `4 - ${column.name}`])}`;
    }
    return `${column.name} = ${value(random, column)}`;
  });
  return `UPDATE ${relation(random, table)} SET ${set.join(', ')}${where(random, table)}`;
}

function where(random: Random, table: Table): string {
  const kind = random.next();
  if (kind < 0.12) return '';
  const column = kind < 0.7 ? table.columns.find(({ name }) => name === table.key[0])! : random.pick(table.columns);
  return ` WHERE ${column.name} = ${literal(random.pick(domains[column.type]))}`;
}

function value(random: Random, { type, notNull }: Column): string {
  return literal(!notNull && random.chance(0.2) ? null : random.pick(domains[type]));
}
