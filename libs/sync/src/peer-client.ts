import type {
  DigestAnswer,
  DigestRequest,
  Frame,
  HeldAnswer,
  HeldRequest,
  Hello,
  Hint,
  HintAnswer,
  PushAnswer,
  RowsRequest,
  SettleRequest,
  WindowRequest,
} from '@pgmesh/wire';

/** For whom a pushed window was made. A node that meanwhile writes under another incarnation must not take it. */
export interface Receiver {
  readonly nodeId: string;
  readonly epoch: string;
}

/**
 * One node as another sees it over the network. Refusals come back as the `Problem` that the peer answered; whatever keeps
 * an answer from coming is `PeerUnreachable`.
 */
export interface PeerClient {
  hello(url: string, hello: Hello, signal: AbortSignal): Promise<Hello>;
  /** Null when nothing came within `wait`. The frames fail with `PeerUnreachable` when the connection breaks. */
  window(url: string, request: WindowRequest, signal: AbortSignal): Promise<AsyncIterable<Frame> | null>;
  push(url: string, receiver: Receiver, frames: AsyncIterable<Frame>, signal: AbortSignal): Promise<PushAnswer>;
  hint(url: string, hint: Hint, signal: AbortSignal): Promise<HintAnswer>;
  /** Digests of ranges of a table's keys. */
  digest(url: string, request: DigestRequest, signal: AbortSignal): Promise<DigestAnswer>;
  /** How it holds single rows. */
  held(url: string, request: HeldRequest, signal: AbortSignal): Promise<HeldAnswer>;
  /** Lets it do its part about rows that differ; how many it gave versions. */
  settle(url: string, request: SettleRequest, signal: AbortSignal): Promise<number>;
  /** A window of single rows. */
  rows(url: string, request: RowsRequest, signal: AbortSignal): Promise<AsyncIterable<Frame>>;
  close(): Promise<void>;
}

/** No answer, or none that a node would give. */
export class PeerUnreachable extends Error {
  override readonly name = 'PeerUnreachable';

  constructor(
    readonly url: string,
    reason: string,
    options?: ErrorOptions,
  ) {
    super(`No answer from ${url}: ${reason}`, options);
  }
}
