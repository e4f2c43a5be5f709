/** How a node speaks to a bootstrap node. */
import {
  type BootstrapAnswer,
  type BootstrapBody,
  type BootstrapMessage,
  parseBootstrapAnswer,
  Problem,
  problemFromDocument,
} from '@pgmesh/wire';
import { createSecureContext, rootCertificates } from 'node:tls';
import { Agent, type Dispatcher } from 'undici';

export interface BootstrapClient {
  /** @throws Problem as it was answered; any other error when there was no answer, or none of a bootstrap node */
  send<Message extends BootstrapMessage>(
    url: string,
    message: Message,
    body: BootstrapBody<Message>,
    signal: AbortSignal,
  ): Promise<BootstrapAnswer<Message>>;
  close(): Promise<void>;
}

export interface HttpBootstrapClientOptions {
  /** P2P_SECRET, sent as a bearer token. */
  readonly secret?: string | null;
  /** Certificates, in PEM, to trust beside those that Node trusts. */
  readonly ca?: string | Buffer | null;
}

/** An introduction is a matter of milliseconds: what takes longer than this (ms) is away. */
const patience = 10_000;
/** 64 neighbours with four addresses of 512 characters each have room in it. */
const longestAnswer = 256 * 1024;

export class HttpBootstrapClient implements BootstrapClient {
  readonly #agent: Agent;
  readonly #headers: Readonly<Record<string, string>>;

  constructor({ secret, ca }: HttpBootstrapClientOptions) {
    this.#agent = new Agent({
      connect: {
        timeout: patience,
        ...(ca ? { secureContext: createSecureContext({ ca: [...rootCertificates, ca] }) } : {}),
      },
      headersTimeout: patience,
      bodyTimeout: patience,
      maxResponseSize: longestAnswer,
    });
    this.#headers = {
      accept: 'application/json, application/problem+json',
      'content-type': 'application/json',
      // Tunnels answer programs, too, with a page for browsers unless told not to.
      'ngrok-skip-browser-warning': '1',
      ...(secret ? { authorization: `Bearer ${secret}` } : {}),
    };
  }

  async send<Message extends BootstrapMessage>(
    url: string,
    message: Message,
    body: BootstrapBody<Message>,
    signal: AbortSignal,
  ): Promise<BootstrapAnswer<Message>> {
    const target = new URL(url);
    const answer = await this.#agent.request({
      origin: target.origin,
      path: `${target.pathname.replace(/\/+$/, '')}/p2p/bootstrap/${message}`,
      method: 'POST',
      headers: this.#headers,
      body: JSON.stringify(body),
      signal,
    });
    const document = await json(answer);
    if (answer.statusCode >= 300 || document === undefined) {
      throw problemFromDocument(document) ?? new Error(`what answers is no bootstrap node (HTTP ${answer.statusCode})`);
    }
    try {
      return parseBootstrapAnswer(message, document);
    } catch (error) {
      // Its fault and not ours: no refusal.
      throw error instanceof Problem ? new Error(error.message, { cause: error }) : error;
    }
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }
}

/** Undefined when it is none: the page of a proxy, another program. */
async function json({ body }: Dispatcher.ResponseData): Promise<unknown> {
  const text = await body.text();
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
