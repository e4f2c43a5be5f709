import type { Rules } from '@pgmesh/core';
import { ManualSource, MdnsSource, type Peer, PeerDirectory } from '@pgmesh/discovery';
import { type Exchange, type LinkStatus, Mesh, type MeshListener, type MeshStatus } from '@pgmesh/sync';
import { protocolVersion } from '@pgmesh/wire';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type Configuration, listeningHost } from '../configuration/configuration';
import { ConfigurationError } from '../configuration/configuration-error';
import { isLoopbackName } from '../http/loopback';
import type { NodeStore } from './ports';

/** A peer as people see it: who found it, and how the exchange with it goes. */
export interface PeerView extends Partial<LinkStatus> {
  readonly peer_id: string;
  readonly url: string;
  readonly urls: readonly string[];
  readonly sources: readonly string[];
}

export interface RunningNode {
  readonly store: NodeStore;
  readonly directory: PeerDirectory;
  readonly mesh: Mesh;
  readonly exchange: Exchange;
  /** Aborted when the node begins to stop: what waits is let go. */
  readonly stopping: AbortSignal;
  peers(): PeerView[];
  status(): MeshStatus;
  /**
   * Decides conflicts by other rules from now on, and tells peers; each node has to be told.
   * @throws Problem `invalid_rules`, `unavailable`
   */
  setRules(rules: Rules): Promise<void>;
  /** Ends the links and says goodbye. The store stays open for the requests that are still being answered. */
  stop(): Promise<void>;
}

/** Puts a node together on a store that is open, in the order in which a change flows. The listener hears of all from the first on. */
export async function startNode(
  configuration: Configuration,
  store: NodeStore,
  port: number,
  warn: (message: string) => void,
  listener: MeshListener,
): Promise<RunningNode> {
  const stopping = new AbortController();
  const host = listeningHost(configuration);
  const dialledPort = configuration.peerPort ?? port;
  const ownUrl = configuration.publicUrl ?? (isWildcard(host) ? null : `http://${inUrl(host)}:${dialledPort}`);

  // Discovery: who is there
  const manual = new ManualSource({ configured: configuration.peers, book: store.peerBook, warn });
  const mdns = new MdnsSource({
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
  const directory = new PeerDirectory({
    self: {
      nodeId: configuration.nodeId,
      urls: [...(ownUrl ? [ownUrl] : []), `http://127.0.0.1:${port}`, `http://localhost:${port}`],
    },
    manual,
    sources: configuration.discovery.includes('mdns') ? [mdns] : [],
    warn,
  });

  // Sync: what is exchanged with them
  const mesh = new Mesh({
    store,
    peers: directory,
    url: () => ownUrl,
    room: configuration.room,
    interval: configuration.syncInterval,
    batch: configuration.batchSize,
    timeout: configuration.timeout,
    retries: configuration.maxRetries,
    memberCap: configuration.memberCap,
    collect: configuration.collect,
    secret: configuration.secret,
    ca: configuration.caFile === undefined ? null : readCertificates(configuration.caFile),
    warn,
  });

  mesh.events.on(listener);
  mesh.start();
  await directory.start();

  return {
    store,
    directory,
    mesh,
    exchange: mesh.exchange,
    stopping: stopping.signal,
    peers: () => directory.list().map((peer) => viewOf(peer, mesh.status().peers)),
    status: () => mesh.status(),
    async setRules(rules) {
      await store.setRules(rules);
      mesh.rulesChanged();
    },
    async stop() {
      stopping.abort();
      await Promise.all([mesh.stop(), directory.stop()]);
    },
  };
}

function viewOf(peer: Peer, links: readonly LinkStatus[]): PeerView {
  const link = links.find(
    ({ node_id, url }) => (node_id !== null && node_id === peer.nodeId) || peer.urls.includes(url),
  );
  return { ...link, peer_id: peer.id, url: peer.url, urls: peer.urls, sources: peer.sources };
}

function readCertificates(path: string): Buffer {
  const refuse = (what: string): never => {
    throw new ConfigurationError([`P2P_CA_FILE=${JSON.stringify(path)} ${what}. Give the path of a PEM file.`]);
  };
  let pem: Buffer;
  try {
    pem = readFileSync(path);
  } catch (error) {
    return refuse(`cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unreadable'})`);
  }
  try {
    new X509Certificate(pem);
  } catch {
    return refuse('holds no certificate');
  }
  return pem;
}

const isWildcard = (host: string): boolean => host === '0.0.0.0' || host === '::';
const inUrl = (host: string): string => (host.includes(':') ? `[${host}]` : host);
