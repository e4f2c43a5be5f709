import type { CopyExtent, CopyProgress } from '@pgmesh/core';

/** How far a first copy is. */
export interface CopyState {
  /** Rows of the peer's that it has gone past, those that were here already included. */
  readonly copied: number;
  /** About how many there are; null where that is not known. */
  readonly of: number | null;
  /** Until its end, at the speed that it has had since it was begun, or gone on with after a start; null while that is not known. */
  readonly seconds_left: number | null;
}

/** A moment of a copy: how many rows it had gone past, and when, in ms since 1970. */
interface Mark {
  readonly rows: number;
  readonly at: number;
}

/** Follows the first copies that are under way here, by the node that they come from. */
export class CopyWatch {
  readonly #marks = new Map<string, { readonly first: Mark; readonly last: Mark }>();

  constructor(private readonly clock: () => number) {}

  /** A piece was merged; `copy` is what is under way after it, null where that was the last. */
  merged(peer: string, piece: CopyExtent | undefined, copy: CopyProgress | null): CopyState {
    const before = this.#marks.get(peer);
    const rows = copy?.extent?.rows ?? (before?.last.rows ?? 0) + (piece?.rows ?? 0);
    const now = { rows, at: this.clock() };
    if (copy === null) {
      this.#marks.delete(peer);
      return { copied: rows, of: rows, seconds_left: 0 };
    }
    const begunAnew = before !== undefined && rows < before.last.rows;
    this.#marks.set(peer, { first: begunAnew ? now : (before?.first ?? now), last: now });
    return this.of(peer, copy);
  }

  of(peer: string | null, { extent }: CopyProgress): CopyState {
    const { rows, of } = extent ?? { rows: 0, of: null };
    const marks = peer === null ? undefined : this.#marks.get(peer);
    return { copied: rows, of, seconds_left: marks && of !== null ? secondsLeft(marks.first, marks.last, of) : null };
  }
}

/** Null while nothing has been copied between the two. */
export function secondsLeft(first: Mark, last: Mark, of: number): number | null {
  const [rows, ms] = [last.rows - first.rows, last.at - first.at];
  return rows <= 0 || ms <= 0 ? null : Math.ceil((Math.max(0, of - last.rows) * ms) / rows / 1000);
}
