import { Logger } from '@nestjs/common';
import type { LeaseOptions, Resolvers } from '@pgmesh/store';
import { Problem } from '@pgmesh/wire';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Configuration } from '../configuration/configuration';
import { EventLog } from './event-log';
import { ownAddress } from './own-address';
import type { NodeStore } from './ports';
import { type RunningNode, startNode } from './running-node';

export interface OpeningOptions {
  readonly warn: (message: string) => void;
  /** The database may have other processes of this node: opened is what leads, and until then it is waited. */
  readonly lease: LeaseOptions;
  /** Those that were given in code. */
  readonly resolvers?: Resolvers;
}

export type OpenStore = (configuration: Configuration, options: OpeningOptions) => Promise<NodeStore>;

/** Pauses between attempts to reach a database that is away at the start, in ms. */
const firstPause = 250;
const longestPause = 5_000;

/**
 * The node of this process, from its start to its end. Where several processes share a database, one of them leads and has the node running;
 * the others pass on to it what they are asked, and take over when it is gone.
 */
export class MeshNode {
  private readonly log = new Logger('Mesh');
  private readonly ending = new AbortController();
  private node: RunningNode | null = null;
  private store: NodeStore | null = null;
  private leading: { readonly url: string | null } | null = null;
  private waitingFor = 'The node has not started yet.';
  private starting: Promise<void> | null = null;
  private living: Promise<void> = Promise.resolve();

  constructor(
    readonly configuration: Configuration,
    private readonly openStore: OpenStore,
    private readonly resolvers: Resolvers = {},
  ) {}

  /** @throws Problem `unavailable` before the node has started, when it is stopping, and while another process leads */
  get running(): RunningNode {
    if (this.node === null) throw new Problem('unavailable', this.waitingFor);
    return this.node;
  }

  /** The process that leads in place of this one, and where it is reached; null while this one does, or nobody is known to. */
  get leader(): { readonly url: string | null } | null {
    return this.leading;
  }

  /**
   * Starts once; later calls wait for the same start, which has come to its end when this process leads or knows who does. A database that is away
   * is waited for.
   * @param port the one that was listened on
   * @throws what stands in the way for good: a table without primary key, missing privileges, another node's database
   */
  start(port: number): Promise<void> {
    this.starting ??= new Promise((started, failed) => {
      this.living = this.live(port, started).catch((error: unknown) => {
        failed(error);
        this.waitingFor = 'The node could not be started. Its log says why.';
      });
      void this.living.then(started);
    });
    return this.starting;
  }

  /** Ends links and waits; requests under way still have their database. */
  async stop(): Promise<void> {
    if (this.ending.signal.aborted) return;
    this.waitingFor = 'The node is stopping.';
    this.ending.abort();
    await this.living;
    const { node } = this;
    this.node = null;
    await node?.stop();
  }

  async close(): Promise<void> {
    await this.stop();
    const { store } = this;
    this.store = null;
    await store?.close();
  }

  /** From lead to lead. */
  private async live(port: number, started: () => void): Promise<void> {
    const { signal } = this.ending;
    const following = (url: string | null): void => {
      this.leading = { url };
      this.waitingFor = `Another process over this database leads${url === null ? '' : ` (${url})`}.`;
      this.log.log({ msg: 'standing by', leader: url });
      started();
    };
    while (!signal.aborted) {
      const store = await this.opened({ url: ownAddress(this.configuration, port), following, signal });
      if (store === null) return;
      this.store = store;
      if (signal.aborted) return;
      await this.lead(store, port);
      started();
      await Promise.race([store.displaced, new Promise((resolve) => signal.addEventListener('abort', resolve))]);
      if (signal.aborted) return;
      this.log.warn('Another process over this database has taken over, for this one stood still. It stands by now.');
      await this.standDown();
    }
  }

  private async lead(store: NodeStore, port: number): Promise<void> {
    const warn = (message: string): void => this.log.warn(message);
    const node = await startNode(this.configuration, store, port, warn, new EventLog(this.log).listener);
    this.leading = null;
    if (this.ending.signal.aborted) return node.stop();
    this.node = node;
    const { nodeId, epoch } = store.identity;
    this.log.log({ msg: 'ready', node_id: nodeId, epoch, tables: store.tables() });
  }

  private async standDown(): Promise<void> {
    const { node, store } = this;
    this.node = this.store = null;
    this.waitingFor = 'Another process over this database leads.';
    await node?.stop();
    await store?.close();
  }

  /** Null when the node was stopped meanwhile. */
  private async opened(lease: LeaseOptions): Promise<NodeStore | null> {
    const { signal } = this.ending;
    const warn = (message: string): void => this.log.warn(message);
    for (let pause = firstPause; !signal.aborted; pause = Math.min(pause * 2, longestPause)) {
      try {
        return await this.openStore(this.configuration, { warn, lease, resolvers: this.resolvers });
      } catch (error) {
        if (signal.aborted) return null;
        if (!(error instanceof Problem) || error.status !== 503) throw error;
        this.leading = null;
        if (this.waitingFor !== error.message) this.log.warn(`${error.message} Trying again until it answers.`);
        this.waitingFor = error.message;
        await sleep(pause, undefined, { signal }).catch(() => undefined); // ended while asleep
      }
    }
    return null;
  }
}
