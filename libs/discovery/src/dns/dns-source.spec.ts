import type { DnsLookup, Looked } from './dns-lookup';
import { parseDnsName } from './dns-name';
import { DnsSource } from './dns-source';

/** Answers each lookup when the test says so. */
class StepLookup implements DnsLookup {
  #answer: (looked: Looked) => void = () => {};
  #asked: () => void = () => {};
  #asking = new Promise<void>((resolve) => (this.#asked = resolve));

  look(): Promise<Looked> {
    return new Promise((resolve) => {
      this.#answer = resolve;
      this.#asked();
    });
  }

  /** Resolves when the answer has been used and the next is asked for. */
  async answers(...hosts: string[]): Promise<void> {
    await this.#with({ hosts: hosts.map((host) => ({ host, port: null })), trouble: null });
  }

  async fails(trouble: string, ...hosts: string[]): Promise<void> {
    await this.#with({ hosts: hosts.map((host) => ({ host, port: null })), trouble });
  }

  cancel(): void {
    this.#answer({ hosts: [], trouble: 'cancelled' });
  }

  async #with(looked: Looked): Promise<void> {
    await this.#asking;
    this.#asking = new Promise((resolve) => (this.#asked = resolve));
    this.#answer(looked);
    await this.#asking;
  }
}

async function start() {
  const lookup = new StepLookup();
  const warnings: string[] = [];
  const peers = new Set<string>();
  const sought = parseDnsName('mesh.example.com')!;
  const source = new DnsSource({ sought, lookup, port: 8001, every: 1, warn: (warning) => warnings.push(warning) });
  await source.start(
    ({ url }) => peers.add(url),
    ({ url }) => peers.delete(url),
  );
  return { lookup, warnings, urls: () => [...peers].sort(), [Symbol.asyncDispose]: () => source.stop() };
}

describe('peers by DNS', () => {
  it('come with their records, and go when three answers in a row lack them', async () => {
    await using dns = await start();
    await dns.lookup.answers('10.0.0.1', '[fd00::2]');
    expect(dns.urls()).toEqual(['http://10.0.0.1:8001', 'http://[fd00::2]:8001']);
    await dns.lookup.answers('10.0.0.1');
    await dns.lookup.answers('10.0.0.1');
    expect(dns.urls()).toHaveLength(2);
    await dns.lookup.answers('10.0.0.1', '[fd00::2]');
    await dns.lookup.answers('10.0.0.1');
    await dns.lookup.answers('10.0.0.1');
    expect(dns.urls()).toHaveLength(2);
    await dns.lookup.answers('10.0.0.1');
    expect(dns.urls()).toEqual(['http://10.0.0.1:8001']);
    expect(dns.warnings).toEqual([]);
  });

  it('stay when lookups fail, which is told once for each time that it begins; what a half answer has is taken', async () => {
    await using dns = await start();
    await dns.lookup.answers('10.0.0.1');
    for (let i = 0; i < 5; i++) await dns.lookup.fails('queryA ESERVFAIL mesh.example.com', '10.0.0.2');
    expect(dns.urls()).toEqual(['http://10.0.0.1:8001', 'http://10.0.0.2:8001']);
    expect(dns.warnings).toEqual([expect.stringMatching(/mesh\.example\.com cannot be looked up.*ESERVFAIL/)]);
    await dns.lookup.answers('10.0.0.1', '10.0.0.2');
    await dns.lookup.fails('queryA ETIMEOUT mesh.example.com');
    expect(dns.warnings).toHaveLength(2);
  });

  it('are none at addresses that no peer may have', async () => {
    await using dns = await start();
    await dns.lookup.answers('169.254.169.254', '0.0.0.0', '10.0.0.1');
    expect(dns.urls()).toEqual(['http://10.0.0.1:8001']);
    expect(dns.warnings).toHaveLength(2);
  });
});

it.each([
  ['shop.example.com', { name: 'shop.example.com', records: 'addresses', scheme: 'http', port: null }],
  ['shop.example.com.:9000', { name: 'shop.example.com', records: 'addresses', scheme: 'http', port: 9000 }],
  ['_http._tcp.shop', { name: '_http._tcp.shop', records: 'services', scheme: 'http', port: null }],
  ['_https._tcp.shop', { name: '_https._tcp.shop', records: 'services', scheme: 'https', port: null }],
  ['_http._udp.shop', null],
  ['10.0.0.1', null],
  ['a..b', null],
  ['shop:99999', null],
  ['', null],
])('%j is looked up as %j', (text, sought) => {
  expect(parseDnsName(text)).toEqual(sought);
});
