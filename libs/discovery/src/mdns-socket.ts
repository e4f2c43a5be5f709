/**
 * The one place that knows bonjour-service. Its responder is used (publish, answer, goodbye). Its browser is not: that
 * one keeps a killed service for ever, does not notice that it speaks again or from another address, and cuts TXT
 * values at a line break; so responses are read as they come, by `readAnnouncements`.
 *
 * It keeps the multicast socket to itself and gives it no `error` listener, which would end the process when the port
 * is taken; hence the one look inside it below.
 */
import { Bonjour } from 'bonjour-service';
import type { EventEmitter } from 'node:events';
import {
  type DnsRecord,
  instanceLabel,
  type OwnAnnouncement,
  SERVICE_DOMAIN,
  SERVICE_TYPE,
  txtOf,
} from './announcement';

interface MulticastDns extends EventEmitter {
  query(name: string, type: string, done: (error?: Error | null) => void): void;
}
interface Response {
  readonly answers: readonly DnsRecord[];
  readonly additionals: readonly DnsRecord[];
}

export interface MdnsSocketOptions {
  /** The UDP port that the mesh's nodes share. */
  readonly port: number;
  /** This side's own IPv4 address on the network to use; absent: the system's choice. */
  readonly interface?: string;
}

export interface MdnsSocketHandlers {
  heard(records: readonly DnsRecord[], from: string): void;
  /** Bytes that are no DNS message. */
  garbled(error: Error): void;
  /** The socket's or the network's own trouble. */
  trouble(error: NodeJS.ErrnoException): void;
}

/** A goodbye that the system does not take in this time (ms) is not waited for. */
const GOODBYE_WITHIN = 1_000;

export class MdnsSocket {
  readonly #bonjour: Bonjour;
  readonly #mdns: MulticastDns;
  readonly #handlers: MdnsSocketHandlers;
  /** Resolves when the port is bound, or the trouble with it told. */
  readonly opened: Promise<void>;
  #published: { destroyed: boolean } | null = null;

  constructor(options: MdnsSocketOptions, handlers: MdnsSocketHandlers) {
    this.#handlers = handlers;
    // Bound to all addresses: a socket bound to one address receives no multicast. `interface` is what limits it.
    const settings = { ...options, bind: '0.0.0.0', loopback: true, reuseAddr: true };
    this.#bonjour = new Bonjour(settings as ConstructorParameters<typeof Bonjour>[0], handlers.trouble);
    this.#mdns = (this.#bonjour as unknown as { server: { mdns: MulticastDns } }).server.mdns;
    this.#mdns.on('error', handlers.trouble);
    this.#mdns.on('warning', (error: NodeJS.ErrnoException) =>
      error.code === undefined ? handlers.garbled(error) : handlers.trouble(error),
    );
    this.#mdns.on('response', (response: Response, { address }: { address: string }) =>
      handlers.heard([...response.answers, ...response.additionals], address),
    );
    this.opened = new Promise((resolve) => {
      this.#mdns.once('ready', resolve);
      this.#mdns.once('error', () => resolve());
    });
  }

  /** Without probing, which takes 0.8 s: the label is already this node's own. */
  publish(own: OwnAnnouncement): void {
    const label = instanceLabel(own);
    this.#published = this.#bonjour.publish({
      name: label,
      host: `${label}.local`,
      type: SERVICE_TYPE,
      port: own.apiPort,
      txt: txtOf(own),
      probe: false,
    });
  }

  /** Asks who is there. */
  ask(): void {
    this.#mdns.query(SERVICE_DOMAIN, 'PTR', (error) => {
      if (error) this.#handlers.trouble(error);
    });
  }

  /** Says goodbye, then closes. */
  async close(): Promise<void> {
    await bounded(GOODBYE_WITHIN, (done) => this.#bonjour.unpublishAll(done));
    // An announcement still under way would otherwise be repeated later, on a closed socket.
    if (this.#published) this.#published.destroyed = true;
    await bounded(GOODBYE_WITHIN, (done) => this.#bonjour.destroy(done));
  }
}

function bounded(ms: number, run: (done: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    run(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
