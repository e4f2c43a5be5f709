import type { Random } from '../convergence/random';
import type { Column, ColumnType } from './schema';

/** Few values, so that rows meet. */
export const domains: Readonly<Record<ColumnType, readonly string[]>> = {
  int: ['1', '2', '3', '4'],
  numeric: ['1', '1.0', '2', '2.00', '3'],
  uuid: [1, 2, 3].map((digit) => `0000000${digit}-0000-4000-8000-000000000000`),
  text: ['a', 'b', 'A', 'c'],
  nocase: ['a', 'A', 'b', 'B', 'c'],
  citext: ['a', 'A', 'b', 'B', 'c'],
};

/** Whether somebody may set it. */
export const isSet = ({ identity, generated }: Column) => identity !== 'ALWAYS' && !generated;

export function shuffled<T>(random: Random, all: readonly T[]): T[] {
  const left = [...all];
  return all.map(() => left.splice(random.between(0, left.length - 1), 1)[0]!);
}
