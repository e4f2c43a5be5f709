import type { DatabaseError } from 'pg';
import { refusesRow, sqlState } from '../database';
import type { TableShape } from '../table-shape';

/** Rows of a table that cannot be kept here, so that the table has to wait: by none of their columns, or not as large as they are. */
export class Unreadable extends Error {
  constructor(
    readonly table: string,
    override readonly cause: Error,
    /** What of the rows it is. */
    readonly what: 'values' | 'key' | 'size' = 'values',
  ) {
    super(cause.message);
  }
}

/** Of types whose values are names: no table, function, type, schema or role here is called so. */
const noSuchName = /^(42P01|42704|42725|42883|3F000)$/;

/** Whether an error may be that of a value which the types of the table's columns do not take. */
export function cannotRead(error: unknown, { columns }: Pick<TableShape, 'columns'>): boolean {
  if (refusesRow(error)) return true;
  return noSuchName.test(sqlState(error) ?? '') && columns.some(({ base }) => /^reg/.test(base));
}

/** Whether a stage's COPY is none, whatever its columns take: no rows of so many columns, no text, versions that are none. */
export function isMalformed(error: unknown): boolean {
  if (/^(22P04|22021)$/.test(sqlState(error) ?? '')) return true;
  return /^COPY \S+, line \d+, column v\d: /.test((error as DatabaseError).where ?? '');
}
