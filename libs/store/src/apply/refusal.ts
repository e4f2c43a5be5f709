import { Problem } from '@pgmesh/wire';
import { isTooLarge, refusesRow, sqlState } from '../database';
import { unmetReference, unsettled } from '../parking/watch';
import { Collision } from './merge';
import { unversioned } from './merge-transaction';
import { Unreadable } from './unreadable';

/** Values that the table, its constraints, domains and triggers do not take, or that are too large for PostgreSQL. */
const refusals = /^(0A|20|21|22|23|2F|38|39|42|44|54|P0)/;

/** Serialization failure, deadlock, lock not available; a key that somebody else has taken since we looked, a parent that has gone. */
export const retried = new Set(['40001', '40P01', '55P03', '23505', '23P01', unmetReference]);

/** Whether another row has a key: of a unique index or an exclusion constraint. */
export function isKeyTaken(state: string | undefined): boolean {
  return state === '23505' || state === '23P01';
}

/** Why a table has to wait, and until when. */
const waitsFor: Record<Unreadable['what'], (message: string) => string> = {
  values: (message) => `has values that cannot be read here: ${message}. Make the types the same on both nodes.`,
  key: (message) =>
    `has a row whose primary key cannot be read here: ${message}. There is nothing to keep it by. Make the key's types the same on both nodes.`,
  size: (message) =>
    `has a row that is larger than what PostgreSQL can keep of one that does not stand, or that several versions compete for: ${message}. ` +
    `That is a quarter of a gigabyte of text (bytea counts twice), all versions together. Make the row smaller, or let only one node write it.`,
};

/** Whether a constraint is in the way of a row: then it is decided anew which stand. A key may be one that is being written just now. */
export function isInTheWay(error: unknown, careful: boolean): boolean {
  const state = sqlState(error);
  if (state === '23505' && !refusesRow(error)) return careful;
  return refusesRow(error) || isTooLarge(error) || state === '23P01' || state === unmetReference || state === unsettled;
}

/** A statement that failed on the window's values, as a refusal that names what to do; other errors as they are. */
export function refused(error: unknown): never {
  const state = sqlState(error);
  const { message, table, column, constraint } = error as { message: string } & Record<string, string | undefined>;
  const where = { table, column, constraint };
  if (error instanceof Unreadable) {
    const text = `${error.table} ${waitsFor[error.what](error.message)} Nothing of the window was applied; other tables go on.`;
    throw new Problem('invalid_value', text, { table: error.table }, { cause: error.cause });
  }
  if (error instanceof Collision) {
    throw new Problem('busy', `${message} each time it was tried. It is tried again.`, {}, { cause: error });
  }
  if (state === unversioned) throw new Problem('busy', `${message}. It is tried again.`, {}, { cause: error });
  if (state === '55P03' || state?.startsWith('40')) {
    throw new Problem(
      'busy',
      `Rows of the window are locked by another transaction: ${message}. It is tried again.`,
      where,
      { cause: error },
    );
  }
  if (state === '42501') {
    throw new Problem(
      'forbidden',
      `The database role may not apply the window: ${message}. Grant it the right.`,
      where,
      { cause: error },
    );
  }
  if (state === unmetReference) {
    throw new Problem(
      'invalid_value',
      `The window takes away a row that rows of a table refer to which is not shared, by ${constraint}. Nothing of it was applied; it is tried ` +
        `again. Share that table too, or take its rows away.`,
      where,
      { cause: error },
    );
  }
  if (state && refusals.test(state)) {
    throw new Problem(
      'invalid_value',
      `PostgreSQL refused the window: ${message}. Nothing of it was applied; it is tried again.`,
      where,
      { cause: error },
    );
  }
  throw error;
}
