import type { Random } from '../convergence/random';
import { canonical, type Column, literal, type Partition, type Partitioning, type Row } from './schema';
import { domains } from './values';

/** Two or three partitions by a column of the primary key. */
export function partitioned(random: Random, table: string, column: Column): Partitioning {
  const by = random.pick(['LIST', 'RANGE', 'HASH'] as const);
  const values = [...new Set(domains[column.type].map((value) => canonical(column.type, value)!))].sort(
    compared(column),
  );
  const cut = random.between(1, values.length - 1);
  const make = { LIST: lists, RANGE: ranges, HASH: remainders }[by];
  return { by, column: column.name, partitions: make(table, column, values, cut) };
}

type Make = (table: string, column: Column, values: readonly string[], cut: number) => Partition[];

const lists: Make = (table, column, values, cut) => {
  const first = values.slice(0, cut);
  const isFirst = (row: Row) => first.includes(canonical(column.type, row[column.name]!)!);
  return [
    { name: `${table}_p1`, bounds: `FOR VALUES IN (${first.map(literal).join(', ')})`, takes: isFirst },
    { name: `${table}_p2`, bounds: 'DEFAULT', takes: (row) => !isFirst(row) },
  ];
};

const ranges: Make = (table, column, values, cut) => {
  const isLow = (row: Row) => compared(column)(canonical(column.type, row[column.name]!)!, values[cut]!) < 0;
  return [
    { name: `${table}_p1`, bounds: `FOR VALUES FROM (MINVALUE) TO (${literal(values[cut]!)})`, takes: isLow },
    {
      name: `${table}_p2`,
      bounds: `FOR VALUES FROM (${literal(values[cut]!)}) TO (MAXVALUE)`,
      takes: (row) => !isLow(row),
    },
  ];
};

const remainders: Make = (table) =>
  [0, 1, 2].map((remainder) => ({
    name: `${table}_p${remainder + 1}`,
    bounds: `FOR VALUES WITH (MODULUS 3, REMAINDER ${remainder})`,
    takes: null,
  }));

const compared =
  ({ type }: Column) =>
  (a: string, b: string): number =>
    type === 'int' || type === 'numeric' ? Number(a) - Number(b) : a < b ? -1 : a > b ? 1 : 0;
