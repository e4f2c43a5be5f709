import { Problem } from '@pgmesh/wire';
import { type Queryable, sqlState } from './database';
import type { TableShape } from './table-shape';
import { typed } from './typed-text';

/**
 * A row's key as people write it in a URL, as PostgreSQL prints it, column by column: plain text for a key of one column
 * (`007` of an integer is 7), a JSON array of texts for a longer one. Whether there is such a row is not asked.
 * @throws Problem `bad_request`
 */
export async function rowKey(db: Queryable, shape: TableShape, text: string): Promise<string[]> {
  const parts = shape.key.length === 1 ? [text] : partsOf(shape, text);
  const printed = shape.key.map((column, i) => `${typed(column, `$${i + 1}::text`)}::text`);
  try {
    const { rows } = await db.query<{ key: (string | null)[] }>(`SELECT ARRAY[${printed.join(', ')}] AS key`, parts);
    const { key } = rows[0]!;
    if (key.every((part) => part !== null)) return key;
  } catch (error) {
    if (!unreadable.test(sqlState(error) ?? '')) throw error;
    throw refusal(shape, (error as Error).message, error);
  }
  throw refusal(shape, 'A value of it is NULL to PostgreSQL');
}

/** Values that a type's input function does not take (some call that a syntax error, or name an object), or a domain's condition. */
const unreadable = /^(0A|22|23|42|54|P0)/;

function partsOf(shape: TableShape, text: string): string[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw refusal(shape, 'It is not JSON');
  }
  const { length } = shape.key;
  if (!Array.isArray(value) || value.length !== length || !value.every((part) => typeof part === 'string')) {
    throw refusal(shape, `It is not an array of ${length} texts`);
  }
  return value as string[];
}

function refusal({ name, key }: TableShape, what: string, cause?: unknown): Problem {
  const columns = key.map(({ name: column, type }) => `${column} (${type})`);
  const form =
    key.length === 1
      ? `The key of ${name} is ${columns[0]}.`
      : `The key of ${name} is a JSON array of texts: ${columns.join(', ')}.`;
  return new Problem('bad_request', `The key cannot be read: ${what}. ${form}`, {}, { cause });
}
