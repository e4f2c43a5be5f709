import {
  type ColumnStamps,
  columnStamp,
  compareFieldStamps,
  type Fields,
  FieldsDraft,
  type FieldStamp,
  hasSeen,
  keyStamp,
} from './field-stamps';
import { joinObject, type JsonbMembers, splitObject } from './jsonb-object';
import type { RowState } from './row-state';
import { compareVersions, type RowImage, type RowVersion } from './row-version';
import { lastWriteWins } from './strategy';

/** A row composed of the newest write of each field. */
export interface MergedFields {
  readonly image: RowImage | null;
  /** The highest version of those that the row was composed of. */
  readonly main: RowVersion;
  /** The fields' stamps where they differ from `main`'s. */
  readonly fields: Fields | null;
}

/** What one version shows of one field: the write that it stems from, and its value. */
interface Shown<Value> {
  readonly version: RowVersion;
  readonly stamp: FieldStamp;
  readonly value: Value;
}

/**
 * Composes the row that stands for a set of versions: of each field the newest write, but for those that another version knew
 * and replaced by an older one or by nothing. Tombstones stand only when there is nothing else: what an update changed is
 * newer than all that the deleter saw.
 */
export function mergeFields(state: RowState, jsonb: ReadonlySet<string>): MergedFields {
  const live = state.filter(({ image }) => image !== null).sort(compareVersions);
  const main = lastWriteWins(live.length > 0 ? live : state);
  if (live.length <= 1) return { image: main.image, main, fields: main.fields ?? null };
  const image: Record<string, string | null> = Object.create(null);
  const fields = new FieldsDraft();
  const own: FieldStamp = [main.stamp, main.origin];
  for (const column of columnsOf([main, ...live])) {
    // A version whose writer lacked the column says nothing about it.
    const shown = live
      .filter((version) => Object.hasOwn(version.image!, column))
      .map((version) => ({ version, stamp: columnStamp(version, column), value: version.image![column]! }));
    const newest = newestOf(shown, [])!;
    const merged = jsonb.has(column) ? mergeKeys(shown, newest, column) : null;
    image[column] = merged?.text ?? newest.value;
    const at = compareFieldStamps(newest.stamp, own) === 0 ? null : newest.stamp;
    fields.set(column, at, merged?.keys);
  }
  return { image, main, fields: fields.done() };
}

/** Every column that one of the versions has. */
export function columnsOf(versions: readonly RowVersion[]): string[] {
  return [...new Set(versions.flatMap(({ image }) => Object.keys(image ?? {})))];
}

/**
 * The newest write that stands; undefined when none does. `without` are versions that lack the field: one of them that knew a
 * write has removed it.
 */
function newestOf<Value>(shown: readonly Shown<Value>[], without: readonly RowVersion[]): Shown<Value> | undefined {
  const replaced = ({ stamp }: Shown<Value>) =>
    without.some((version) => hasSeen(version, stamp)) ||
    shown.some((other) => compareFieldStamps(other.stamp, stamp) < 0 && hasSeen(other.version, stamp));
  // Shown in the order of the versions: of equal stamps the highest version's value is taken.
  return shown
    .filter((one) => !replaced(one))
    .reduce<Shown<Value> | undefined>(
      (best, one) => (best === undefined || compareFieldStamps(one.stamp, best.stamp) >= 0 ? one : best),
      undefined,
    );
}

/** The column's objects key by key, when its newest write left an object there; other values say nothing about keys. */
function mergeKeys(
  shown: readonly Shown<string | null>[],
  newest: Shown<string | null>,
  column: string,
): { text: string; keys: ColumnStamps['keys'] } | null {
  if (splitObject(newest.value) === null) return null;
  const objects: { version: RowVersion; members: JsonbMembers }[] = [];
  for (const { version, value } of shown) {
    const members = splitObject(value);
    if (members !== null) objects.push({ version, members });
  }
  const members = new Map<string, string>();
  const keys: Record<string, FieldStamp> = Object.create(null);
  for (const key of new Set(objects.flatMap((object) => [...object.members.keys()]))) {
    const having = objects.filter((object) => object.members.has(key));
    const standing = newestOf(
      having.map((object) => {
        return {
          version: object.version,
          stamp: keyStamp(object.version, column, key),
          value: object.members.get(key)!,
        };
      }),
      objects.filter((object) => !object.members.has(key)).map(({ version }) => version),
    );
    if (standing === undefined) continue;
    members.set(key, standing.value);
    if (compareFieldStamps(standing.stamp, newest.stamp) !== 0) keys[key] = standing.stamp;
  }
  return { text: joinObject(members), keys };
}
