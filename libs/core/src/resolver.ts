import { columnsOf } from './merge-fields';
import type { RowState } from './row-state';
import { type RowImage, type RowVersion, vectorOf } from './row-version';
import type { Stamp } from './stamp';
import { joinVectors, type Origin, type VersionVector } from './version-vector';

/** The values of a row's primary key, in the order of its columns, as PostgreSQL's text. */
export type RowKey = readonly string[];

/** One side of a conflict as a resolver sees it: a version, or what it has made of several, under the highest one's name. */
export interface ResolverSide {
  /** The row as PostgreSQL's text; null where it was deleted. */
  readonly value: RowImage | null;
  readonly stamp: Stamp;
  readonly origin: Origin;
  readonly vector: VersionVector;
}

/**
 * A user's function for the strategy `custom`: the row that two concurrent ones make; null when it is to be deleted. It must
 * depend on its arguments alone: no clock, no random numbers, no state of its own, or the nodes end with different rows.
 */
export type Resolver = (key: RowKey, a: ResolverSide, b: ResolverSide) => RowImage | null;

/** Thrown by what runs a resolver when it did not answer in time; `limit` in milliseconds. */
export class ResolverTimeout extends Error {
  override readonly name = 'ResolverTimeout';

  constructor(readonly limit: number) {
    super(`No answer within ${limit} ms`);
  }
}

/** Why a resolver's answer is not taken. The conflict stays open and the last write stands meanwhile. */
export type ResolverFailure =
  | { readonly kind: 'no_resolver' }
  | { readonly kind: 'threw'; readonly message: string }
  | { readonly kind: 'timed_out'; readonly limit: number }
  | { readonly kind: 'not_a_row'; readonly got: string }
  | { readonly kind: 'unknown_column'; readonly column: string }
  | { readonly kind: 'missing_column'; readonly column: string }
  | { readonly kind: 'missing_key'; readonly column: string }
  | { readonly kind: 'changed_key'; readonly column: string }
  | { readonly kind: 'not_text'; readonly column: string };

export type Resolved =
  { readonly ok: true; readonly image: RowImage | null } | { readonly ok: false; readonly failure: ResolverFailure };

/**
 * A user's function folded over versions in the order given; `visible` gives them by their stamps. `keyColumns` are the names
 * of the key's columns. A row may have the columns that one of the versions has, and must have them all: what is accepted
 * depends on the set alone, not on the table's present shape, which may differ between nodes for a while.
 */
export function resolve(state: RowState, resolver: Resolver, key: RowKey, keyColumns: readonly string[]): Resolved {
  const columns = columnsOf(state);
  const images = state.map(({ image }) => image).filter((image) => image !== null);
  const [first, ...rest] = state.map(sideOf);
  if (first === undefined) throw new RangeError('A row state has at least one version');
  let made = first;
  for (const side of rest) {
    const answer = ask(resolver, key, made, side);
    if (!answer.ok) return answer;
    const failure = faultOf(answer.value, columns, keyColumns, images);
    if (failure !== null) return { ok: false, failure };
    made = joined(made, side, answer.value as RowImage | null);
  }
  return { ok: true, image: made.value };
}

function sideOf(version: RowVersion): ResolverSide {
  const { image, stamp, origin } = version;
  return { value: image, stamp, origin, vector: vectorOf(version) };
}

/** What a resolver made of two sides, as a side of its next call. */
function joined(a: ResolverSide, b: ResolverSide, value: RowImage | null): ResolverSide {
  const { stamp, origin } = a.stamp > b.stamp || (a.stamp === b.stamp && a.origin > b.origin) ? a : b;
  return { value: value && { ...value }, stamp, origin, vector: joinVectors(a.vector, b.vector) };
}

type Answer =
  { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly failure: ResolverFailure };

/** The user's function gets copies: what it does to them does not reach the versions. Its answer is read here, once, for reading may throw too. */
function ask(resolver: Resolver, key: RowKey, a: ResolverSide, b: ResolverSide): Answer {
  const copy = (side: ResolverSide) => ({
    ...side,
    value: side.value && { ...side.value },
    vector: { ...side.vector },
  });
  try {
    const answer: unknown = resolver([...key], copy(a), copy(b));
    // A promise is no row, and is told of as that: its own failure, which nobody waits for, would end the process.
    if (answer instanceof Promise) answer.catch(() => undefined);
    return { ok: true, value: isRow(answer) ? { ...answer } : answer };
  } catch (error) {
    if (error instanceof ResolverTimeout) return { ok: false, failure: { kind: 'timed_out', limit: error.limit } };
    return { ok: false, failure: { kind: 'threw', message: messageOf(error) } };
  }
}

function isRow(answer: unknown): answer is Readonly<Record<string, unknown>> {
  return typeof answer === 'object' && answer !== null && !Array.isArray(answer) && !(answer instanceof Promise);
}

/** Anything can be thrown, also what cannot be made a text of. */
function messageOf(thrown: unknown): string {
  try {
    return printable(String(thrown instanceof Error ? thrown.message : thrown));
  } catch {
    return 'something that has no text';
  }
}

/** What the user's function says goes into records and events: without the characters that PostgreSQL does not take, and not for ever. */
function printable(text: string): string {
  return text.slice(0, longestText).replaceAll(/\0|\p{Surrogate}/gu, '\ufffd');
}

const longestText = 1000;
const isText = (value: unknown): boolean => typeof value === 'string' && !/\0|\p{Surrogate}/u.test(value);

/** What is wrong with a resolver's answer, in an order that does not depend on the answer's own; null when it is a row. */
function faultOf(
  answer: unknown,
  columns: readonly string[],
  keyColumns: readonly string[],
  images: readonly RowImage[],
): ResolverFailure | null {
  if (answer === null) return null;
  if (!isRow(answer)) return { kind: 'not_a_row', got: kindOf(answer) };
  const row = answer;
  const unknown = Object.keys(row)
    .filter((column) => !columns.includes(column))
    .sort()[0];
  if (unknown !== undefined) return { kind: 'unknown_column', column: printable(unknown) };
  for (const column of keyColumns) {
    if (!Object.hasOwn(row, column) || row[column] == null) return { kind: 'missing_key', column };
    if (!images.some((image) => image[column] === row[column])) return { kind: 'changed_key', column };
  }
  for (const column of [...columns].sort()) {
    if (!Object.hasOwn(row, column)) return { kind: 'missing_column', column };
    if (row[column] !== null && !isText(row[column])) return { kind: 'not_text', column };
  }
  return null;
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'an array';
  if (value instanceof Promise) return 'a promise';
  return value === undefined ? 'nothing' : `a ${typeof value}`;
}

/** The failure as a sentence that says what to do. */
export function describeFailure(failure: ResolverFailure): string {
  switch (failure.kind) {
    case 'no_resolver':
      return 'No resolver is registered on this node. Register the one that the rule names, on every node.';
    case 'threw':
      return `The resolver threw: ${failure.message.replace(/[.!?]$/, '')}.`;
    case 'timed_out':
      return `The resolver did not answer within ${failure.limit} ms.`;
    case 'not_a_row':
      return `The resolver returned ${failure.got}. Return a row, or null for a deletion; not a promise.`;
    case 'unknown_column':
      return `The resolver returned the column "${failure.column}", which no version of the row has.`;
    case 'missing_column':
      return `The resolver's row lacks the column "${failure.column}". Return whole rows: { ...a.value, … }.`;
    case 'missing_key':
      return `The resolver's row lacks the key column "${failure.column}".`;
    case 'changed_key':
      return `The resolver changed the key column "${failure.column}". A row keeps its key.`;
    case 'not_text':
      return `The resolver's "${failure.column}" is neither text in Unicode nor null. Values are PostgreSQL's text.`;
  }
}
