import { chooseEncoding, compress, type Served } from '@pgmesh/sync';
import { windowContentType } from '@pgmesh/wire';
import type { Request, Response } from 'express';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { leaving } from '../http/patience';

/** Answers with a window. It is a stream, none of it is held. */
export async function answerWindow(
  served: Served,
  request: Request,
  response: Response,
  timeout: number,
): Promise<void> {
  const encoding = chooseEncoding(request.headers['accept-encoding'], request.socket.remoteAddress, served.rows);
  response.status(200).setHeader('content-type', windowContentType);
  if (encoding !== 'identity') response.setHeader('content-encoding', encoding);
  const taken = leaving(served.body, timeout, () => response.destroy());
  try {
    await pipeline(Readable.from(compress(taken, encoding), { objectMode: false }), response);
  } catch (error) {
    // A reader that goes away in the middle asks again; there is nobody left to tell.
    if (!response.destroyed) throw error;
  } finally {
    await served.close();
  }
}
