import {
  createServer,
  type IncomingMessage,
  request as httpRequest,
  type RequestListener,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';

/** What stands before a node, as a tunnel or a reverse proxy does: it may answer by itself, or pass the request on. */
export class Front implements AsyncDisposable {
  readonly requests: IncomingMessage[] = [];

  private constructor(private readonly server: ReturnType<typeof createServer>) {}

  /** @param answers whether it has answered by itself; all else goes to the port `target` */
  static async before(
    target: number,
    answers: (request: IncomingMessage, response: ServerResponse) => boolean,
  ): Promise<Front> {
    const listener: RequestListener = (request, response) => {
      front.requests.push(request);
      if (!answers(request, response)) pass(request, response, target);
    };
    const front = new Front(createServer(listener));
    await new Promise<void>((resolve) => front.server.listen(0, '127.0.0.1', resolve));
    return front;
  }

  get url(): string {
    return `http://localhost:${(this.server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.server.closeAllConnections();
    await closed;
  }
}

function pass(request: IncomingMessage, response: ServerResponse, port: number): void {
  const { method, url, headers } = request;
  const onward = httpRequest({ host: '127.0.0.1', port, method, path: url, headers }, (answer) => {
    response.writeHead(answer.statusCode!, answer.headers);
    answer.pipe(response);
    answer.once('error', () => response.destroy());
  });
  onward.once('error', () => response.destroy());
  response.once('close', () => onward.destroy());
  request.pipe(onward);
}

/** A page for browsers. */
export function page(response: ServerResponse, status = 200): true {
  response.writeHead(status, { 'content-type': 'text/html' });
  response.end('<!DOCTYPE html><html><body>You are about to visit a site.</body></html>');
  return true;
}
