/** One directory of peers, fed by several sources. */
export { type OwnAnnouncement } from './announcement';
export {
  type BootstrapClient,
  HttpBootstrapClient,
  type HttpBootstrapClientOptions,
} from './bootstrap/bootstrap-client';
export { BootstrapNode, type BootstrapNodeOptions, type RegisterBook } from './bootstrap/bootstrap-node';
export { BootstrapSource, type BootstrapSourceOptions } from './bootstrap/bootstrap-source';
export type { BootstrapStatus } from './bootstrap/lease-keeper';
export { RegisterFile } from './bootstrap/register-file';
export { type DiscoverySource, type PeerAddress, type Warn } from './discovery-source';
export { type DnsLookup, ResolverLookup } from './dns/dns-lookup';
export { type DnsName, parseDnsName } from './dns/dns-name';
export { DnsSource, type DnsSourceOptions } from './dns/dns-source';
export { ManualSource, type ManualSourceOptions } from './manual-source';
export { MdnsSource, type MdnsSourceOptions } from './mdns-source';
export { type Peer, type Self } from './peer';
export { type PeerBook } from './peer-book';
export {
  type AddOutcome,
  type LearnOutcome,
  PeerDirectory,
  type PeerDirectoryOptions,
  type PeerEvents,
  type RemoveOutcome,
} from './peer-directory';
export { isLinkLocal, isLoopbackUrl, parsePeerUrl, type PeerUrl, type PeerUrlProblem } from './peer-url';
