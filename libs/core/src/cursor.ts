import { formatSnapshot, parseSnapshot, type Snapshot } from './snapshot';

/** A position in one feed: the incarnation of the feed (`epoch`), and the snapshot up to which it was read. */
export interface Cursor {
  readonly epoch: string;
  readonly snapshot: Snapshot;
}

/** `epoch/xmax:xip,…`: readable, and safe in a URL but for the escaping of `:` and `,`. */
export function formatCursor({ epoch, snapshot }: Cursor): string {
  return `${epoch}/${formatSnapshot(snapshot)}`;
}

/** Reads `formatCursor`'s form; null when the text is not one. */
export function parseCursor(text: string): Cursor | null {
  const slash = text.indexOf('/');
  if (slash < 1) return null;
  const epoch = text.slice(0, slash);
  const snapshot = /^[0-9a-z]{1,32}$/.test(epoch) ? parseSnapshot(text.slice(slash + 1)) : null;
  return snapshot && { epoch, snapshot };
}
