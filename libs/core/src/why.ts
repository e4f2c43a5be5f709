import { columnStamp, compareFieldStamps, type FieldStamp, keyStamp } from './field-stamps';
import { splitObject } from './jsonb-object';
import { describeOpen, type Visible } from './visible';
import type { RowState } from './row-state';
import { compareVersions, type RowVersion, sameVersion } from './row-version';

/** Which write a column shows; null when it is no write's, but what a resolver has made. */
export interface ColumnWhy {
  readonly write: FieldStamp | null;
  /** The keys of a document whose writes are others than the column's. */
  readonly keys: Readonly<Record<string, FieldStamp>>;
}

/** Why a row is as it is. */
export interface Why {
  /** By column; empty when the row is deleted. */
  readonly columns: Readonly<Record<string, ColumnWhy>>;
  /** The concurrent versions that do not stand, or not alone; the highest first. */
  readonly against: RowState;
  /** By what it stands, as a sentence. */
  readonly reason: string;
}

/** Explains what a set of versions came to. */
export function whyOf(state: RowState, visible: Visible): Why {
  const against = state.filter((version) => visible.composed || !sameVersion(version, visible.main));
  return {
    columns: columnsOf(state, visible),
    against: against.sort((a, b) => compareVersions(b, a)),
    reason: reasonOf(state, visible),
  };
}

function columnsOf(state: RowState, { image, main, fields, composed, decidedBy }: Visible): Why['columns'] {
  if (image === null) return {};
  const shown = { stamp: main.stamp, origin: main.origin, image, fields };
  const columns = Object.entries(image).map(([column, text]): [string, ColumnWhy] => {
    if (composed && decidedBy === 'custom') return [column, { write: writeOf(state, column, text), keys: {} }];
    const write = columnStamp(shown, column);
    const keys = [...(splitObject(text)?.keys() ?? [])]
      .map((key) => [key, keyStamp(shown, column, key)] as const)
      .filter(([, stamp]) => fields?.[column] !== undefined && compareFieldStamps(stamp, write) !== 0);
    return [column, { write, keys: Object.fromEntries(keys) }];
  });
  return Object.fromEntries(columns);
}

/** Of what a resolver has made: the highest version that has the same value there. */
function writeOf(state: RowState, column: string, text: string | null): FieldStamp | null {
  const same = state.filter(({ image }) => image !== null && Object.hasOwn(image, column) && image[column] === text);
  const highest = same.reduce<RowVersion | null>(
    (best, version) => (best === null || compareVersions(version, best) > 0 ? version : best),
    null,
  );
  return highest && columnStamp(highest, column);
}

function reasonOf(state: RowState, { main, open, decidedBy, image }: Visible): string {
  if (state.length === 1) return 'Nothing that is known is concurrent with it.';
  if (open !== null) return `${describeOpen(open)} The last write stands until somebody decides.`;
  const of = `of ${state.length} concurrent versions`;
  switch (decidedBy) {
    case 'first-write-wins':
      return `It is the first ${of}.`;
    case 'node-priority':
      return `Its writer has the highest priority (${main.priority}) ${of}; of several with the same, it is the last.`;
    case 'merge-fields':
      return image === null
        ? 'All concurrent versions have deleted the row.'
        : `It has the newest write of each field ${of}.`;
    case 'custom':
      return `The resolver made it ${of}.`;
    default:
      return `It is the last ${of}.`;
  }
}
