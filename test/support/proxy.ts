import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';

/**
 * `open`: passes bytes on. `silent`: takes connections and bytes and passes nothing on, in either direction, as a half-open
 * peer does. `closed`: refuses.
 */
export type ProxyState = 'open' | 'silent' | 'closed';

export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

/** Bytes of a connection that are kept for repeating them. */
const mostRecorded = 1_000_000;

/** A link between two nodes, of which a test decides what it lets through. Bytes are counted in both directions. */
export class Proxy implements AsyncDisposable {
  /** Bytes that were passed on: what who dialled has sent, and what came back. */
  readonly bytes = { sent: 0, answered: 0 };
  /** Milliseconds for which each piece is held up, and those behind it. */
  delay = 0;
  /** Bytes a second in each direction of a connection, at most. */
  rate = Infinity;
  #state: ProxyState = 'open';
  #silentAfter = Infinity;
  #cutAfter = Infinity;
  readonly #sockets = new Set<Socket>();
  /** What was dialled last and is still whole: all that was sent over it. */
  #recorded: Buffer[] = [];

  private constructor(
    private readonly server: Server,
    private readonly target: number,
    private readonly scheme: string,
  ) {}

  /** To a port of loopback. With a certificate it speaks TLS to those who dial, and plainly to the target. */
  static async to(target: number, certificate?: Certificate): Promise<Proxy> {
    const pass = (socket: Socket): void => proxy.#pass(socket);
    const server = certificate ? createTlsServer({ ...certificate }, pass) : createServer(pass);
    const proxy = new Proxy(server, target, certificate ? 'https' : 'http');
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get url(): string {
    return `${this.scheme}://localhost:${this.port}`;
  }

  get state(): ProxyState {
    return this.#state;
  }

  get connections(): number {
    return this.#sockets.size / 2;
  }

  open(): void {
    this.#become('open');
  }

  /** Connections stay, nothing comes of them any more. */
  silence(): void {
    this.#become('silent');
  }

  /** Connections break off, and new ones are refused. */
  close(): void {
    this.#become('closed');
    this.#destroyAll();
  }

  /** Falls silent once so many more bytes have been answered. */
  silenceAfter(bytes: number): void {
    this.#silentAfter = this.bytes.answered + bytes;
  }

  /** Breaks the connections off, once, when so many more bytes have gone in either direction. */
  cutAfter(bytes: number): void {
    this.#cutAfter = this.bytes.sent + this.bytes.answered + bytes;
  }

  /**
   * Sends once more what came over the connection that was opened last, from its beginning: requests that have been answered arrive again, late. What
   * is answered to them reaches nobody.
   */
  async repeat(): Promise<void> {
    const again = connect(this.target, '127.0.0.1');
    this.#sockets.add(again);
    again.on('error', () => undefined);
    again.once('close', () => this.#sockets.delete(again));
    again.resume();
    again.write(Buffer.concat(this.#recorded));
    // A node answers what it can; nobody waits for it longer.
    await new Promise((resolve) => setTimeout(resolve, 1_000).unref());
    again.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.#destroyAll();
    await closed;
  }

  #become(state: ProxyState): void {
    // What was swallowed is missing from the streams that swallowed it: they cannot go on.
    if (this.#state === 'silent' && state === 'open') this.#destroyAll();
    this.#state = state;
    this.#silentAfter = Infinity;
    this.#cutAfter = Infinity;
  }

  #destroyAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #pass(dialled: Socket): void {
    if (this.#state === 'closed') {
      dialled.destroy();
      return;
    }
    const upstream = connect(this.target, '127.0.0.1');
    const recorded: Buffer[] = [];
    this.#recorded = recorded;
    let size = 0;
    dialled.on('data', (piece: Buffer) => {
      if ((size += piece.length) <= mostRecorded) recorded.push(piece);
    });
    for (const [socket, other] of [
      [dialled, upstream],
      [upstream, dialled],
    ] as const) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined); // its close ends the other side
      socket.once('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    this.#flow(dialled, upstream, 'sent');
    this.#flow(upstream, dialled, 'answered');
  }

  #flow(from: Socket, to: Socket, direction: 'sent' | 'answered'): void {
    const pass = (piece: Buffer): void => {
      if (this.#state !== 'open' || to.destroyed) return;
      this.bytes[direction] += piece.length;
      if (this.bytes.answered >= this.#silentAfter) return this.#become('silent');
      if (this.bytes.sent + this.bytes.answered >= this.#cutAfter) {
        this.#cutAfter = Infinity;
        return this.#destroyAll();
      }
      if (to.write(piece)) return;
      from.pause();
      to.once('drain', () => from.resume());
    };
    from.on('data', (piece: Buffer) => {
      const held = this.delay + (1000 * piece.length) / this.rate;
      if (held === 0) return pass(piece);
      from.pause();
      setTimeout(() => {
        from.resume();
        pass(piece);
      }, held);
    });
    from.once('end', () => {
      if (this.#state === 'open') to.end();
    });
  }
}
