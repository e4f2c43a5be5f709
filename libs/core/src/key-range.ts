/** A half-open range of keys [from, to), in the order of the node that reads it; null is without an end. Keys are PostgreSQL's text. */
export interface KeyRange {
  readonly from: readonly string[] | null;
  readonly to: readonly string[] | null;
}

/** How a range is to be digested: cut at these keys; or into so many parts of about as many rows; or row by row. */
export type DigestRange = KeyRange &
  (
    | { readonly by: 'at'; readonly at: readonly (readonly string[])[] }
    | { readonly by: 'parts'; readonly parts: number }
    | { readonly by: 'rows' }
  );

/** A part of a range, from a key on (null: from the range's own beginning) to the next part's. */
export interface DigestPart {
  readonly from: readonly string[] | null;
  /** Of which there is something: with tombstones and parked rows. */
  readonly rows: number;
  /** Of these, rows that the table has. */
  readonly live: number;
  readonly digest: string;
}

export interface RowDigest {
  readonly key: readonly string[];
  readonly digest: string;
  /** Whether it is a tombstone. */
  readonly gone: boolean;
}

/** The answer to a DigestRange: `rows` where it was asked row by row, `parts` otherwise. */
export type DigestedRange =
  | { readonly parts: readonly DigestPart[]; readonly rows?: undefined }
  | { readonly rows: readonly RowDigest[]; readonly parts?: undefined };
