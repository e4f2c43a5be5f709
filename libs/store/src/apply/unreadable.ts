/** Rows of a table have values that its types do not know here: a label that an enum lacks, a domain that was dropped. */
export class Unreadable extends Error {
  constructor(
    readonly table: string,
    override readonly cause: Error,
  ) {
    super(cause.message);
  }
}
