/** One directory of peers, fed by several sources. */
export { type OwnAnnouncement } from './announcement';
export { type DiscoverySource, type PeerAddress, type Warn } from './discovery-source';
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
export { isLinkLocal, parsePeerUrl, type PeerUrl, type PeerUrlProblem } from './peer-url';
