import type { RowImage, RowVersion } from './row-version';
import { splitObject } from './jsonb-object';
import type { Stamp } from './stamp';
import { type Origin, vectorCovers } from './version-vector';

/**
 * Field stamps, which `merge-fields` goes by: which write last changed a column, or a top-level key of a jsonb object. They are
 * kept only where they differ from what goes without saying, so that a version of a table without `merge-fields` has none:
 * a column without an entry was written by its version itself, a key without an entry together with its column.
 */
export type FieldStamp = readonly [stamp: Stamp, origin: Origin];

/** When a column was last changed in any part, and its keys that were last changed at another time. */
export interface ColumnStamps {
  readonly at?: FieldStamp;
  readonly keys?: Readonly<Record<string, FieldStamp>>;
}

/** By column; plain data that JSON can carry. */
export type Fields = Readonly<Record<string, ColumnStamps>>;

/** A row with the name that its fields bear unless they say otherwise: a version, or what stands in the table. */
export interface StampedRow {
  readonly stamp: Stamp;
  readonly origin: Origin;
  readonly image: RowImage | null;
  readonly fields?: Fields | null;
}

/** The write that last changed a column of a row in any part. */
export function columnStamp(row: StampedRow, column: string): FieldStamp {
  return entryOf(row.fields, column)?.at ?? [row.stamp, row.origin];
}

/** The write that last changed a key of a column that holds a jsonb object. */
export function keyStamp(row: StampedRow, column: string, key: string): FieldStamp {
  return entryOf(entryOf(row.fields, column)?.keys, key) ?? columnStamp(row, column);
}

/** The order of versions, for fields: by stamp, then by origin. */
export function compareFieldStamps(a: FieldStamp, b: FieldStamp): number {
  return a[0] - b[0] || (a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : 0);
}

/** Whether a version's writer had seen the write that a field stamp names, or made it. */
export function hasSeen({ stamp, origin, past }: RowVersion, [at, by]: FieldStamp): boolean {
  return origin === by ? stamp >= at : vectorCovers(past, by, at);
}

/**
 * The field stamps of a write that leaves `image` where `shown` stood; null when it changed every field, or nothing stood
 * there. What it did not change keeps its stamp; `jsonb` names the columns whose objects are told apart by key. Values are
 * compared as PostgreSQL's text, as capture compares records by their bytes: 1.0 and 1.00 differ.
 */
export function fieldsOfWrite(
  shown: StampedRow | null,
  image: RowImage | null,
  jsonb: ReadonlySet<string>,
): Fields | null {
  if (shown === null || shown.image === null || image === null) return null;
  const fields = new FieldsDraft();
  for (const [column, value] of Object.entries(image)) {
    if (!Object.hasOwn(shown.image, column)) continue;
    const before = shown.image[column]!;
    if (before === value) fields.set(column, columnStamp(shown, column), entryOf(shown.fields, column)?.keys);
    else if (jsonb.has(column)) fields.set(column, null, keptKeys(shown, column, before, value));
  }
  return fields.done();
}

function keptKeys(
  shown: StampedRow,
  column: string,
  before: string | null,
  after: string | null,
): ColumnStamps['keys'] {
  const [had, has] = [splitObject(before), splitObject(after)];
  if (had === null || has === null) return undefined;
  const keys: Record<string, FieldStamp> = Object.create(null);
  for (const [key, value] of has) if (had.get(key) === value) keys[key] = keyStamp(shown, column, key);
  return keys;
}

/**
 * Whether a version's field stamps can be true: none newer than the version, and each of a write that its writer had seen. A peer that
 * sends others is not to be believed. A column may have been dropped, renamed or retyped since: what is said of a field that is not
 * there says nothing.
 */
export function soundFields(version: RowVersion): boolean {
  if (version.fields == null) return true;
  if (version.image === null) return false;
  const own: FieldStamp = [version.stamp, version.origin];
  const sound = (stamp: FieldStamp) => compareFieldStamps(stamp, own) < 0 && hasSeen(version, stamp);
  return Object.values(version.fields).every(
    ({ at, keys }) => (at === undefined || sound(at)) && Object.values(keys ?? {}).every(sound),
  );
}

/** Field stamps under construction: what goes without saying is left out, and nothing at all is null. */
export class FieldsDraft {
  readonly #fields: Record<string, ColumnStamps> = Object.create(null);

  /** `at` is null where the column bears the row's own stamp. */
  set(column: string, at: FieldStamp | null, keys: ColumnStamps['keys']): void {
    const some = keys !== undefined && Object.keys(keys).length > 0;
    if (at === null && !some) return;
    this.#fields[column] = { ...(at && { at }), ...(some && { keys }) };
  }

  done(): Fields | null {
    return Object.keys(this.#fields).length > 0 ? this.#fields : null;
  }
}

/** A column may be called `constructor`. */
function entryOf<Entry>(entries: Readonly<Record<string, Entry>> | null | undefined, name: string): Entry | undefined {
  return entries != null && Object.hasOwn(entries, name) ? entries[name] : undefined;
}
