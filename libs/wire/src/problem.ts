/**
 * Everything that a node refuses or cannot do, by code. Answers carry it as an RFC 9457 problem document whose `type` is
 * `urn:pgmesh:problem:<code>`; docs/protocol.md lists the codes for people.
 */
export const problemCodes = {
  bad_request: [400, 'The request cannot be read'],
  bad_cursor: [400, 'The cursor is not one of ours'],
  unauthorized: [401, 'Credentials are needed'],
  forbidden: [403, 'This is not allowed'],
  other_room: [403, 'The nodes are of different rooms'],
  not_found: [404, 'There is no such thing here'],
  method_not_allowed: [405, 'This method is not allowed here'],
  request_timeout: [408, 'The request took too long to arrive'],
  other_epoch: [409, 'The feed has begun anew'],
  other_node: [409, 'Another node answers under this name'],
  cloned_node: [409, 'Two databases write under one name'],
  other_protocol: [409, 'The nodes speak different versions of the protocol'],
  member_present: [409, 'The member is there'],
  decided: [409, 'The conflict has been decided already'],
  history_off: [409, 'No history is kept of this table'],
  behind: [409, 'The sender lacks deletions that are forgotten here'],
  gap: [409, 'The window does not connect to our position'],
  gone: [410, 'What the cursor asks for is not kept any more'],
  too_large: [413, 'The request is too large'],
  unsupported_media: [415, 'The encoding or content type is not supported'],
  clock_drift: [422, 'A version is stamped too far in the future'],
  unknown_column: [422, 'The table has other columns here'],
  invalid_value: [422, 'A value is not accepted by the table'],
  invalid_version: [422, 'There can be no such version'],
  invalid_rules: [422, 'The rules cannot be used here'],
  invalid_peer: [422, 'The address is not that of a peer'],
  too_many: [429, 'There is no room for more'],
  internal: [500, 'Something unexpected happened'],
  unavailable: [503, 'The database is away'],
  busy: [503, 'The rows are locked by someone else'],
} as const satisfies Record<string, readonly [status: number, title: string]>;

export type ProblemCode = keyof typeof problemCodes;

/** A refusal or failure that has a code: what happened, to what, and what to do about it. Never holds a secret. */
export class Problem extends Error {
  override readonly name = 'Problem';

  constructor(
    readonly code: ProblemCode,
    detail: string,
    /** Members added to the problem document, for instance the position to go on from. */
    readonly extra: Readonly<Record<string, unknown>> = {},
    options?: ErrorOptions,
  ) {
    super(detail, options);
  }

  get status(): number {
    return problemCodes[this.code][0];
  }

  /** The RFC 9457 document. */
  toDocument(instance?: string): Record<string, unknown> {
    const [status, title] = problemCodes[this.code];
    return {
      ...this.extra,
      type: `urn:pgmesh:problem:${this.code}`,
      title,
      status,
      detail: this.message,
      instance,
      code: this.code,
    };
  }
}
