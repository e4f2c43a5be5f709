import type { Random } from '../convergence/random';
import type { Condition, Guard, Row } from './schema';

export const int = (row: Row, name: string) => (row[name] == null ? null : Number(row[name]));

/** As SQL compares: unknown where one of both is. */
export const compare = (a: number | null, b: number | null, holds: (a: number, b: number) => boolean) =>
  a === null || b === null ? null : holds(a, b);

export function check(random: Random): Condition {
  return random.pick<Condition>([
    { sql: 'n < 4', holds: (row) => compare(int(row, 'n'), 4, (a, b) => a < b) },
    { sql: 'n <> m', holds: (row) => compare(int(row, 'n'), int(row, 'm'), (a, b) => a !== b) },
    { sql: 'n <= m', holds: (row) => compare(int(row, 'n'), int(row, 'm'), (a, b) => a <= b) },
    { sql: 'n IS NOT NULL OR t IS NOT NULL', holds: (row) => row.n !== null || row.t !== null },
  ]);
}

export function guard(random: Random): Guard {
  return { ...check(random), always: random.chance(0.6), when: random.pick(['BEFORE', 'AFTER', 'DEFERRED']) };
}
