import type { KeyColumn, TableShape } from './table-shape';

/** The key's columns in a metadata table: `key1, key2`, after `alias.` where one is given. */
export function metaKeys(shape: TableShape, alias?: string): string {
  return list(shape, (_, i) => `${alias ? `${alias}.` : ''}key${i + 1}`);
}

/** Their values as texts, in one array. */
export function textKey(shape: Pick<TableShape, 'key'>, alias: string): string {
  return `ARRAY[${shape.key.map((_, i) => `${alias}.key${i + 1}::text`).join(', ')}]`;
}

/** The key's columns in the data table. */
export function dataKeys(shape: TableShape, alias?: string): string {
  return list(shape, (column) => `${alias ? `${alias}.` : ''}${column.ident}`);
}

/** The key's columns in a staged window, where every column has its position for a name. */
export function stagedKeys(shape: TableShape, alias: string): string {
  return list(shape, (_, i) => `${alias}.c${i + 1}`);
}

/** The same as the key's own columns compare it, where there is none beside it whose collation would be the one that counts. */
export function inCollation(shape: TableShape, alias: string): string {
  return list(shape, ({ definition }, i) => `${alias}.c${i + 1}::${definition}`);
}

/** `a.x = b.y AND …` by the operators of the primary key's own index: equal here is what equal is to it. */
export function keysEqual(
  shape: TableShape,
  left: (column: KeyColumn, i: number) => string,
  right: typeof left,
): string {
  return shape.key.map((c, i) => `${left(c, i)} OPERATOR(${c.equals}) ${right(c, i)}`).join(' AND ');
}

/**
 * `key1 = …, ` for the columns where equal keys need not be the same bytes, as 1.0 and 1.00 are not: the metadata has the key of the
 * version that stands. Nothing for the others.
 */
export function rekeyed(shape: TableShape, value: (column: KeyColumn, i: number) => string): string {
  return shape.key.flatMap((column, i) => (column.settled ? [] : [`key${i + 1} = ${value(column, i)}, `])).join('');
}

export const inMeta = (alias: string) => (_: KeyColumn, i: number) => `${alias}.key${i + 1}`;
export const inData = (alias: string) => (column: KeyColumn) => `${alias}.${column.ident}`;
export const inStage = (alias: string) => (_: KeyColumn, i: number) => `${alias}.c${i + 1}`;

function list(shape: TableShape, one: (column: KeyColumn, i: number) => string): string {
  return shape.key.map(one).join(', ');
}

type Side = (column: KeyColumn, i: number) => string;

/** `a` comes after `b` in the order of the primary key's index; one row comparison wherever the operators allow it. */
export function keysAfter(shape: TableShape, left: Side, right: Side): string {
  const operators = new Set(shape.key.map((column) => column.after));
  if (operators.size === 1) {
    const [operator] = operators;
    return `(${shape.key.map(left).join(', ')}) OPERATOR(${operator}) (${shape.key.map(right).join(', ')})`;
  }
  const steps = shape.key.map((column, i) => {
    const before = shape.key.slice(0, i).map((c, j) => `${left(c, j)} OPERATOR(${c.equals}) ${right(c, j)}`);
    return [...before, `${left(column, i)} OPERATOR(${column.after}) ${right(column, i)}`].join(' AND ');
  });
  return `(${steps.map((step) => `(${step})`).join(' OR ')})`;
}
