import {
  BootstrapSource,
  type DiscoverySource,
  DnsSource,
  HttpBootstrapClient,
  MdnsSource,
  parseDnsName,
  parsePeerUrl,
  ResolverLookup,
  type Warn,
} from '@pgmesh/discovery';
import { protocolVersion } from '@pgmesh/wire';
import { networkInterfaces } from 'node:os';
import { type Configuration, listeningHost } from '../configuration/configuration';
import { isLoopbackName } from '../http/loopback';

/** Where a node is, as others see it. */
export interface Whereabouts {
  /** Where this process reaches itself. */
  readonly here: string;
  /** The port that others are told to dial. */
  readonly dialledPort: number;
  /** Where others can dial us; null when they cannot, as far as we know. */
  readonly url: string | null;
  /** All addresses that lead back to us. */
  readonly own: readonly string[];
}

export function whereabouts(configuration: Configuration, port: number): Whereabouts {
  const host = listeningHost(configuration);
  const dialledPort = configuration.peerPort ?? port;
  const url = configuration.publicUrl ?? (isWildcard(host) ? null : `http://${inUrl(host)}:${dialledPort}`);
  const everywhere = isWildcard(host) ? Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []) : [];
  const local = ['127.0.0.1', 'localhost', ...everywhere.map(({ address }) => inUrl(address))];
  return {
    here: `http://${isWildcard(host) ? '127.0.0.1' : inUrl(host)}:${port}`,
    dialledPort,
    url,
    own: [...(url === null ? [] : [url]), ...local.map((name) => `http://${name}:${port}`)],
  };
}

export interface Sources {
  readonly all: readonly DiscoverySource[];
  /** Null unless P2P_DISCOVERY_MODE names it, or this node is a bootstrap node. */
  readonly bootstrap: BootstrapSource | null;
}

/** The ways to find peers beside those known by hand, as P2P_DISCOVERY_MODE names them. */
export function sourcesOf(configuration: Configuration, at: Whereabouts, ca: Buffer | null, warn: Warn): Sources {
  const { discovery, bootstrapUrl, bootstrapServe, dnsName } = configuration;
  const uses = (mode: string): boolean => discovery.includes(mode);
  const asked = [
    ...(uses('bootstrap') ? bootstrapUrl : []),
    // Who introduces others is one of them.
    ...(bootstrapServe ? [at.here] : []),
  ];
  const bootstrap = asked.length > 0 ? bootstrapSource(configuration, asked, at, ca, warn) : null;
  if (bootstrapUrl.length > 0 && !uses('bootstrap')) warn(unused('P2P_BOOTSTRAP_URL', 'bootstrap'));
  if (dnsName !== undefined && !uses('dns')) warn(unused('P2P_DNS_NAME', 'dns'));
  return {
    all: [
      ...(uses('mdns') ? [mdnsSource(configuration, at, warn)] : []),
      ...(bootstrap ? [bootstrap] : []),
      ...(uses('dns') ? [dnsSource(configuration, at, warn)] : []),
    ],
    bootstrap,
  };
}

function mdnsSource(configuration: Configuration, { dialledPort }: Whereabouts, warn: Warn): MdnsSource {
  const host = listeningHost(configuration);
  return new MdnsSource({
    nodeId: configuration.nodeId,
    room: configuration.room,
    protocol: protocolVersion,
    scheme: 'http',
    apiPort: dialledPort,
    path: '',
    port: configuration.discoveryPort,
    interface: isLoopbackName(host)
      ? '127.0.0.1'
      : /^\d+(\.\d+){3}$/.test(host) && !isWildcard(host)
        ? host
        : undefined,
    warn,
  });
}

function bootstrapSource(
  { nodeId, room, secret }: Configuration,
  bootstraps: readonly string[],
  { url }: Whereabouts,
  ca: Buffer | null,
  warn: Warn,
): BootstrapSource {
  return new BootstrapSource({
    nodeId,
    room,
    bootstraps: bootstraps.map(normalized),
    ownUrls: url === null ? [] : [normalized(url)],
    client: new HttpBootstrapClient({ secret, ca }),
    warn,
  });
}

function dnsSource({ dnsName, dnsServers }: Configuration, { dialledPort }: Whereabouts, warn: Warn): DnsSource {
  // Both were checked with the configuration.
  return new DnsSource({
    sought: parseDnsName(dnsName!)!,
    lookup: new ResolverLookup(dnsServers),
    port: dialledPort,
    warn,
  });
}

/** What is no peer's URL stays as it is, and is refused by name where it is used. */
function normalized(text: string): string {
  const parsed = parsePeerUrl(text);
  return parsed.ok ? parsed.url : text;
}

const unused = (variable: string, mode: string): string =>
  `${variable} is set, and not used: P2P_DISCOVERY_MODE does not name ${mode}.`;
const isWildcard = (host: string): boolean => host === '0.0.0.0' || host === '::';
const inUrl = (host: string): string => (host.includes(':') ? `[${host}]` : host);
