import type { Resolver, ResolverSide, RowKey } from './resolver';
import type { RowImage } from './row-version';

/** How PostgreSQL's text of a column becomes a value, and a value such a text. Both are pure; a value that cannot be one throws. */
export interface Decoder<Value> {
  readonly decode: (text: string) => Value;
  readonly encode: (value: Value) => string;
}

/** smallint, integer, and of bigint what a JavaScript number holds exactly. */
export const integer: Decoder<number> = {
  decode: (text) => safeInteger(Number(text), text),
  encode: (value) => String(safeInteger(value, value)),
};

/** bigint, and numeric without a fraction. */
export const bigInteger: Decoder<bigint> = { decode: (text) => BigInt(text), encode: (value) => value.toString() };

/** real and double precision. Not for numeric, whose digits a JavaScript number may lose: leave it as text. */
export const float: Decoder<number> = {
  decode: (text) => ({ Infinity, '-Infinity': -Infinity, NaN })[text] ?? Number(text),
  encode: (value) => (Object.is(value, -0) ? '-0' : String(value)),
};

export const boolean: Decoder<boolean> = {
  decode: (text) => {
    if (text !== 't' && text !== 'f') throw new TypeError(`${text} is no boolean`);
    return text === 't';
  },
  encode: (value) => (value ? 't' : 'f'),
};

/** json and jsonb. Numbers in it become JavaScript's: digits beyond a double's are lost. */
export const json: Decoder<unknown> = {
  decode: (text) => JSON.parse(text) as unknown,
  encode: (value) => {
    const text = JSON.stringify(value) as string | undefined;
    if (text === undefined) throw new TypeError('The value has no JSON');
    return text;
  },
};

function safeInteger(value: number, told: unknown): number {
  if (!Number.isSafeInteger(value)) throw new RangeError(`${String(told)} is no integer that JavaScript holds exactly`);
  return value;
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- what a decoder takes back is what it gave
type Decoders = Readonly<Record<string, Decoder<any>>>;

/** A row with the columns that have a decoder as values, the others as PostgreSQL's text; NULL is null. */
export type DecodedRow<Columns extends Decoders> = {
  readonly [Column in keyof Columns]: (Columns[Column] extends Decoder<infer Value> ? Value : never) | null;
} & { readonly [column: string]: unknown };

export interface DecodedSide<Columns extends Decoders> extends Omit<ResolverSide, 'value'> {
  readonly value: DecodedRow<Columns> | null;
}

/**
 * A resolver that works on values: `decoded({ qty: integer }, (key, a, b) => …)`. A column that was left as it was keeps its very
 * text, so that 1.50 does not become 1.5 on the way.
 */
export function decoded<Columns extends Decoders>(
  columns: Columns,
  resolver: (key: RowKey, a: DecodedSide<Columns>, b: DecodedSide<Columns>) => DecodedRow<Columns> | null,
): Resolver {
  return (key, a, b) => {
    const [left, right] = [a, b].map((side) => ({ ...side, value: side.value && decodeRow(columns, side.value) }));
    const row = resolver(key, left!, right!);
    return (
      row &&
      encodeRow(columns, row, [
        [b.value, right!.value],
        [a.value, left!.value],
      ])
    );
  };
}

function decodeRow<Columns extends Decoders>(columns: Columns, image: RowImage): DecodedRow<Columns> {
  const values = Object.entries(image).map(([column, text]) => {
    const decoder = Object.hasOwn(columns, column) ? columns[column] : undefined;
    return [column, text === null || !decoder ? text : (decoder.decode(text) as unknown)];
  });
  return Object.fromEntries(values) as DecodedRow<Columns>;
}

function encodeRow<Columns extends Decoders>(
  columns: Columns,
  row: DecodedRow<Columns>,
  sides: readonly (readonly [RowImage | null, DecodedRow<Columns> | null])[],
): RowImage {
  const texts = Object.entries<unknown>(row).map(([column, value]) => {
    const decoder = Object.hasOwn(columns, column) ? columns[column] : undefined;
    if (value === null || !decoder) return [column, value];
    const untouched = sides.find(([, decodedRow]) => decodedRow !== null && Object.is(decodedRow[column], value));
    return [column, untouched ? untouched[0]![column] : decoder.encode(value)];
  });
  return Object.fromEntries(texts) as RowImage;
}
