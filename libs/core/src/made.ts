import type { Knowledge } from './knowledge';
import { shows } from './snapshot';

/**
 * Where a version was made: by which transaction of which feed. Whoever knows that feed up to there is known to have had the version, or what
 * covers it, whatever way it took.
 */
export interface Made {
  /** `node~epoch` (feedName). */
  readonly feed: string;
  readonly xid: bigint;
}

/** Whether who knows as much has come past a version of this table: it held it, or what covers it. */
export function knowsMade(knowledge: Knowledge, { feed, xid }: Made, table: string): boolean {
  const at = feed.lastIndexOf('~');
  const node = feed.slice(0, at);
  const known = Object.hasOwn(knowledge, node) ? knowledge[node] : undefined;
  return (
    known !== undefined &&
    known.cursor.epoch === feed.slice(at + 1) &&
    known.tables.includes(table) &&
    shows(known.cursor.snapshot, xid)
  );
}
