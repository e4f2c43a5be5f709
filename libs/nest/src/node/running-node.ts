import type { Rules } from '@pgmesh/core';
import { type BootstrapStatus, ManualSource, type Peer, PeerDirectory } from '@pgmesh/discovery';
import { type Exchange, type LinkStatus, Mesh, type MeshListener, type MeshStatus } from '@pgmesh/sync';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Configuration } from '../configuration/configuration';
import { ConfigurationError } from '../configuration/configuration-error';
import type { NodeStore } from './ports';
import { sourcesOf, whereabouts } from './sources';

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
  /** How this node stands with each bootstrap node that it asks. */
  bootstrap(): readonly BootstrapStatus[];
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
  const at = whereabouts(configuration, port);
  const ca = configuration.caFile === undefined ? null : readCertificates(configuration.caFile);

  // Discovery: who is there
  const { all: sources, bootstrap } = sourcesOf(configuration, at, ca, warn);
  const manual = new ManualSource({ configured: configuration.peers, book: store.peerBook, warn });
  const self = { nodeId: configuration.nodeId, urls: at.own };
  const directory = new PeerDirectory({ self, manual, sources, warn });

  // Sync: what is exchanged with them
  const mesh = new Mesh({
    store,
    peers: directory,
    url: () => at.url,
    room: configuration.room,
    interval: configuration.syncInterval,
    batch: configuration.batchSize,
    timeout: configuration.timeout,
    retries: configuration.maxRetries,
    links: configuration.links,
    verifyInterval: configuration.verifyInterval,
    verifyRepair: configuration.verifyRepair,
    memberCap: configuration.memberCap,
    collect: configuration.collect,
    secret: configuration.secret,
    ca,
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
    bootstrap: () => bootstrap?.status() ?? [],
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
