/** What can keep an embedded server from running; the message says to what, and what to do about it. */
export type EmbeddedFailureCode =
  | 'EMBEDDED_UNSUPPORTED' // no binaries for this system, or the system refuses to run them
  | 'EMBEDDED_IN_USE' // another living process has the data directory
  | 'EMBEDDED_PORT_TAKEN'
  | 'EMBEDDED_DATA_DIR' // it is not a cluster of ours, or its password is lost
  | 'EMBEDDED_START_FAILED'
  | 'EMBEDDED_STOP_FAILED';

export class EmbeddedFailure extends Error {
  override readonly name = 'EmbeddedFailure';

  constructor(
    readonly code: EmbeddedFailureCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The code of a system or PostgreSQL error, '' when it has none. Not by instanceof: a test's realm has its own Error. */
export function errorCode(error: unknown): string {
  const code: unknown = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : '';
}
