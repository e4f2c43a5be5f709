import type { IncomingMessage, ServerResponse } from 'node:http';

/** Aborted when the client has gone before it was answered. */
export function endOf(_request: IncomingMessage, response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) gone.abort();
  });
  return gone.signal;
}
