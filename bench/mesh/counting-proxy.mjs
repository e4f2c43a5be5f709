// @ts-check
import { connect, createServer } from 'node:net';

/** A link as one node dials it, whose bytes are counted in both directions. */
export class CountingProxy {
  bytes = 0;
  /** @type {Set<import('node:net').Socket>} */
  #sockets = new Set();
  #server = createServer((dialled) => this.#pass(dialled));

  /** @param {number} target a port on loopback */
  constructor(target) {
    this.target = target;
  }

  /** @param {import('../teardown.mjs').Teardown} teardown @param {string} target a node's URL */
  static async to(teardown, target) {
    const proxy = new CountingProxy(Number(new URL(target).port));
    await new Promise((resolve) => proxy.#server.listen(0, '127.0.0.1', () => resolve(undefined)));
    teardown.defer(`a link to port ${proxy.target}`, () => proxy.#close());
    return proxy;
  }

  get url() {
    const address = /** @type {import('node:net').AddressInfo} */ (this.#server.address());
    return `http://localhost:${address.port}`;
  }

  /** @param {import('node:net').Socket} dialled */
  #pass(dialled) {
    const upstream = connect(this.target, '127.0.0.1');
    const ways = /** @type {const} */ ([
      [dialled, upstream],
      [upstream, dialled],
    ]);
    for (const [from, to] of ways) {
      this.#sockets.add(from);
      from.on('data', (piece) => (this.bytes += piece.length));
      from.on('error', () => undefined); // its close ends the other side
      from.once('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  }

  async #close() {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}
