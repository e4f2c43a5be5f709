/** The one place that asks DNS. */
import { Resolver } from 'node:dns/promises';
import type { DnsName } from './dns-name';

export interface Looked {
  /** Hosts as they stand in a URL, with their ports where the records have some. */
  readonly hosts: readonly { readonly host: string; readonly port: number | null }[];
  /** What kept a part of the answer from coming; null when it is whole. */
  readonly trouble: string | null;
}

export interface DnsLookup {
  /** Never rejects: what fails is `trouble`. */
  look(sought: DnsName): Promise<Looked>;
  cancel(): void;
}

/** Milliseconds for one try, and how many there are. */
const patience = { timeout: 2_000, tries: 2 };

export class ResolverLookup implements DnsLookup {
  readonly #resolver = new Resolver(patience);

  /** @param servers P2P_DNS_SERVERS: addresses, with `:port` where it is not 53; empty: the system's */
  constructor(servers: readonly string[]) {
    if (servers.length > 0) this.#resolver.setServers([...servers]);
  }

  async look({ name, records, port }: DnsName): Promise<Looked> {
    const asked =
      records === 'services'
        ? [this.#resolver.resolveSrv(name).then((all) => all.map(({ name: host, port }) => ({ host, port })))]
        : [
            this.#resolver.resolve4(name).then((all) => all.map((host) => ({ host, port }))),
            this.#resolver.resolve6(name).then((all) => all.map((address) => ({ host: `[${address}]`, port }))),
          ];
    const answers = await Promise.allSettled(asked);
    const failures = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as Error] : []));
    const trouble = failures.find((error) => !isEmptyAnswer(error));
    return {
      hosts: answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : [])),
      trouble: trouble ? trouble.message : null,
    };
  }

  cancel(): void {
    this.#resolver.cancel();
  }
}

/** The name is there, and has no record of this kind. */
const isEmptyAnswer = (error: NodeJS.ErrnoException): boolean => error.code === 'ENODATA';
