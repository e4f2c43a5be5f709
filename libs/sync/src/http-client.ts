import { Readable } from 'node:stream';
import { createSecureContext, rootCertificates } from 'node:tls';
import {
  decodeFrames,
  type DigestAnswer,
  digestAnswerSchema,
  type DigestRequest,
  type Frame,
  type HeldAnswer,
  heldAnswerSchema,
  type HeldRequest,
  type Hello,
  helloSchema,
  type Hint,
  type HintAnswer,
  hintAnswerSchema,
  parseBody,
  Problem,
  problemFromDocument,
  type PushAnswer,
  pushAnswerSchema,
  receiverHeader,
  type RowsRequest,
  settleAnswerSchema,
  type SettleRequest,
  windowContentType,
  type WindowRequest,
} from '@pgmesh/wire';
import { Agent, type Dispatcher } from 'undici';
import { compress, decompress, encodeBody, isLoopback } from './content-encoding';
import { type PeerClient, PeerUnreachable, type Receiver } from './peer-client';
import { Stall } from './stall';

export interface HttpClientOptions {
  /** Milliseconds without any progress after which an exchange is given up. */
  readonly timeout: number;
  /** Sent as a bearer token. */
  readonly secret?: string | null;
  /** Certificates, in PEM, to trust beside those that Node trusts. */
  readonly ca?: string | Buffer | null;
}

/** JSON answers are small; what is longer is not one of ours. */
const longestAnswer = 4 * 1024 * 1024;

/** Milliseconds that the digests of a range may take beyond the time-out: tens of thousands of rows are read for them. */
const comparing = 120_000;

/** What Node says of a certificate whose authority it does not know. */
const unknownAuthority = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

interface Call {
  readonly path: string;
  /** The content type of a node's answer, where it is not JSON. */
  readonly answer?: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | AsyncIterable<Uint8Array>;
  /** Milliseconds that the peer may take beyond the time-out before it answers. */
  readonly patience?: number;
}

/** Peers over HTTP and HTTPS, with connections that are kept. */
export class HttpClient implements PeerClient {
  readonly #agent: Agent;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(private readonly options: HttpClientOptions) {
    const { timeout, secret, ca } = options;
    this.#agent = new Agent({
      connect: { timeout, ...(ca ? { secureContext: createSecureContext({ ca: [...rootCertificates, ca] }) } : {}) },
      // Undici's own limit counts from the start of a request, long uploads included; `Stall` counts from the last progress.
      headersTimeout: 0,
      bodyTimeout: timeout,
      keepAliveTimeout: 60_000,
    });
    this.#headers = {
      accept: 'application/json, application/problem+json',
      // Tunnels answer programs, too, with a page for browsers unless told not to.
      'ngrok-skip-browser-warning': '1',
      ...(secret ? { authorization: `Bearer ${secret}` } : {}),
    };
  }

  async hello(url: string, hello: Hello, signal: AbortSignal): Promise<Hello> {
    const answer = await this.#json(url, { path: 'hello', ...json(hello) }, signal);
    return this.#understood(url, () => parseBody(helloSchema, answer, 'answer to a greeting'));
  }

  async hint(url: string, hint: Hint, signal: AbortSignal): Promise<HintAnswer> {
    const answer = await this.#json(url, { path: 'notify-changes', ...json(hint) }, signal);
    return this.#understood(url, () => parseBody(hintAnswerSchema, answer, 'answer to a hint'));
  }

  async push(url: string, to: Receiver, frames: AsyncIterable<Frame>, signal: AbortSignal): Promise<PushAnswer> {
    const encoding = isLoopback(new URL(url).hostname) ? 'identity' : 'br';
    const headers = {
      'content-type': windowContentType,
      [receiverHeader]: `${to.nodeId}/${to.epoch}`,
      ...(encoding === 'identity' ? {} : { 'content-encoding': encoding }),
    };
    const body = compress(encodeBody(frames), encoding);
    const answer = await this.#json(url, { path: 'notify-changes', headers, body }, signal);
    return this.#understood(url, () => parseBody(pushAnswerSchema, answer, 'answer to a pushed window'));
  }

  async window(url: string, request: WindowRequest, signal: AbortSignal): Promise<AsyncIterable<Frame> | null> {
    const call = { ...windowCall('window', request), patience: request.wait * 1000 };
    const answer = await this.#ask(url, call, signal);
    if (answer.statusCode === 204) {
      await answer.body.dump();
      return null;
    }
    return this.#frames(url, answer);
  }

  async digest(url: string, request: DigestRequest, signal: AbortSignal): Promise<DigestAnswer> {
    const answer = await this.#json(url, { path: 'digest', patience: comparing, ...json(request) }, signal);
    return this.#understood(url, () => parseBody(digestAnswerSchema, answer, 'answer with digests'));
  }

  async held(url: string, request: HeldRequest, signal: AbortSignal): Promise<HeldAnswer> {
    const answer = await this.#json(url, { path: 'held', ...json(request) }, signal);
    return this.#understood(url, () => parseBody(heldAnswerSchema, answer, 'answer with rows'));
  }

  async settle(url: string, request: SettleRequest, signal: AbortSignal): Promise<number> {
    const answer = await this.#json(url, { path: 'settle', ...json(request) }, signal);
    return this.#understood(url, () => parseBody(settleAnswerSchema, answer, 'answer with what was settled').settled);
  }

  async rows(url: string, request: RowsRequest, signal: AbortSignal): Promise<AsyncIterable<Frame>> {
    return this.#frames(url, await this.#ask(url, windowCall('rows', request), signal));
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async *#frames(url: string, { headers, body }: Dispatcher.ResponseData): AsyncGenerator<Frame> {
    try {
      yield* decodeFrames(decompress(body as unknown as Readable, headers['content-encoding'] as string | undefined));
    } catch (error) {
      throw unreachable(url, error);
    } finally {
      body.destroy();
    }
  }

  async #json(url: string, call: Call, signal: AbortSignal): Promise<unknown> {
    const answer = await this.#ask(url, call, signal);
    try {
      return JSON.parse(await text(answer));
    } catch (error) {
      throw unreachable(url, error);
    }
  }

  /** An answer of the peer's that is a success. */
  async #ask(
    url: string,
    { path, answer: type = 'application/json', headers, body, patience = 0 }: Call,
    signal: AbortSignal,
  ): Promise<Dispatcher.ResponseData> {
    const stall = new Stall(this.options.timeout, patience);
    const target = new URL(url);
    try {
      const answer = await this.#agent.request({
        origin: target.origin,
        path: `${target.pathname.replace(/\/+$/, '')}/p2p/${path}`,
        method: 'POST',
        headers: { ...this.#headers, ...headers },
        body: typeof body === 'string' ? body : Readable.from(stall.watch(body)),
        signal: AbortSignal.any([signal, stall.signal]),
      });
      const nothing = answer.statusCode === 204 && type === windowContentType;
      if (nothing || (answer.statusCode < 300 && typeOf(answer) === type)) return answer;
      throw await refusal(url, answer);
    } catch (error) {
      throw unreachable(url, stall.signal.aborted ? stall.signal.reason : error);
    } finally {
      stall.end();
    }
  }

  #understood<T>(url: string, read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw new PeerUnreachable(url, `it is not a pgmesh node that we understand. ${String(error)}`, { cause: error });
    }
  }
}

function json(value: unknown): { headers: Record<string, string>; body: string } {
  return { headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) };
}

/** One that is answered by a window. */
function windowCall(path: string, request: unknown): Call {
  const { headers, body } = json(request);
  const accepted = { ...headers, accept: windowContentType, 'accept-encoding': 'br, gzip' };
  return { path, answer: windowContentType, headers: accepted, body };
}

/** A node's refusal, or what else answers there: the page of a proxy, another program. */
async function refusal(url: string, answer: Dispatcher.ResponseData): Promise<Error> {
  let document: unknown = null;
  try {
    document = JSON.parse(await text(answer));
  } catch {
    // Not JSON: the answer of something that is not a node, which its status and type describe well enough.
  }
  const what = [`HTTP ${answer.statusCode}`, typeOf(answer)].filter(Boolean).join(', ');
  return problemFromDocument(document) ?? new PeerUnreachable(url, `what answers is not a pgmesh node (${what})`);
}

function typeOf({ headers }: Dispatcher.ResponseData): string {
  return String(headers['content-type'] ?? '')
    .split(';', 1)[0]!
    .trim()
    .toLowerCase();
}

async function text({ body }: Dispatcher.ResponseData): Promise<string> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of body) {
    size += (piece as Buffer).length;
    if (size > longestAnswer) throw new Error(`the answer is longer than ${longestAnswer} bytes`);
    pieces.push(piece as Buffer);
  }
  return Buffer.concat(pieces).toString('utf8');
}

/** Refusals stay what they are; everything else names the URL. */
function unreachable(url: string, error: unknown): Error {
  if (error instanceof Problem || error instanceof PeerUnreachable) return error;
  const { message, code } = error as NodeJS.ErrnoException;
  if (code !== undefined && unknownAuthority.has(code)) {
    const remedy = 'Name the authority that gave it in P2P_CA_FILE, if it is your own.';
    return new PeerUnreachable(url, `its certificate is not trusted: ${message}. ${remedy}`, { cause: error });
  }
  return new PeerUnreachable(url, message || code || String(error), { cause: error });
}
