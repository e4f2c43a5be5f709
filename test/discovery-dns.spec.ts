/** DNS with real packets, from a server on loopback. */
import { DnsSource, parseDnsName, ResolverLookup } from '../libs/discovery/src';
import { eventually } from './support/discovery-process';
import { DnsServer } from './support/dns-server';

async function discover(server: DnsServer, name: string) {
  const warnings: string[] = [];
  const peers = new Set<string>();
  const source = new DnsSource({
    sought: parseDnsName(name)!,
    lookup: new ResolverLookup([server.address]),
    port: 8001,
    every: 20,
    warn: (warning) => warnings.push(warning),
  });
  await source.start(
    ({ url }) => peers.add(url),
    ({ url }) => peers.delete(url),
  );
  return { warnings, urls: () => [...peers].sort(), [Symbol.asyncDispose]: () => source.stop() };
}

describe('peers by DNS', () => {
  it('are the A and AAAA records of a name, and follow them', async () => {
    await using server = await DnsServer.start();
    server.records.set('mesh.test', { a: ['10.0.0.1', '10.0.0.2'], aaaa: ['fd00:0:0:0:0:0:0:3'] });
    await using found = await discover(server, 'mesh.test:9000');
    await eventually(() =>
      expect(found.urls()).toEqual(['http://10.0.0.1:9000', 'http://10.0.0.2:9000', 'http://[fd00::3]:9000']),
    );
    server.records.set('mesh.test', { a: ['10.0.0.2', '10.0.0.4'] });
    await eventually(() => expect(found.urls()).toEqual(['http://10.0.0.2:9000', 'http://10.0.0.4:9000']));
    server.records.set('mesh.test', {});
    await eventually(() => expect(found.urls()).toEqual([]));
    expect(found.warnings).toEqual([]);
  });

  it('are the SRV records of a service, with their ports', async () => {
    await using server = await DnsServer.start();
    server.records.set('_https._tcp.mesh.test', {
      srv: [
        { target: 'a.mesh.test', port: 8443 },
        { target: 'b.mesh.test', port: 443 },
      ],
    });
    await using found = await discover(server, '_https._tcp.mesh.test');
    await eventually(() => expect(found.urls()).toEqual(['https://a.mesh.test:8443', 'https://b.mesh.test']));
  });

  it('stay while the server fails, is silent, or says that there is no such name; that is told, once', async () => {
    await using server = await DnsServer.start();
    server.records.set('mesh.test', { a: ['10.0.0.1'] });
    await using found = await discover(server, 'mesh.test');
    await eventually(() => expect(found.urls()).toEqual(['http://10.0.0.1:8001']));
    server.trouble = 'refuses';
    await eventually(() => expect(found.warnings).toEqual([expect.stringContaining('mesh.test')]));
    server.trouble = null;
    server.records.delete('mesh.test');
    const asked = server.questions;
    await eventually(() => expect(server.questions).toBeGreaterThan(asked + 10));
    server.trouble = 'is silent';
    expect(found.urls()).toEqual(['http://10.0.0.1:8001']);
    // The end does not wait for a server that is silent: it is broken off.
  });
});
