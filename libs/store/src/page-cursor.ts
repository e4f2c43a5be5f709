import { Problem } from '@pgmesh/wire';

/** Where a list of records goes on, the newest first: after the record `id`. Opaque to people. */
export function cursorIn(list: string, id: number): string {
  return Buffer.from(JSON.stringify([list, id])).toString('base64url');
}

/** @throws Problem `bad_cursor` for what `cursorIn` has not given for this list */
export function placeIn(list: string, cursor: string): number {
  const bad = () => new Problem('bad_cursor', 'The cursor is not one that this list gave. Start without one.');
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
  } catch {
    throw bad();
  }
  const [of, id] = Array.isArray(value) && value.length === 2 ? (value as unknown[]) : [];
  if (of !== list || typeof id !== 'number' || !Number.isSafeInteger(id) || id < 1) throw bad();
  return id;
}
