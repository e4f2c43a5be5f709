import { Logger } from '@nestjs/common';
import type { Resolvers } from '@pgmesh/store';
import { Problem } from '@pgmesh/wire';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Configuration } from '../configuration/configuration';
import { EventLog } from './event-log';
import type { NodeStore } from './ports';
import { type RunningNode, startNode } from './running-node';

/** `resolvers` are those that were given in code. */
export type OpenStore = (
  configuration: Configuration,
  warn: (message: string) => void,
  resolvers?: Resolvers,
) => Promise<NodeStore>;

/** Pauses between attempts to reach a database that is away at the start, in ms. */
const firstPause = 250;
const longestPause = 5_000;

/** The node of this process, from its start to its end. */
export class MeshNode {
  private readonly log = new Logger('Mesh');
  private readonly ending = new AbortController();
  private node: RunningNode | null = null;
  private store: NodeStore | null = null;
  private waitingFor = 'The node has not started yet.';
  private starting: Promise<void> | null = null;

  constructor(
    readonly configuration: Configuration,
    private readonly openStore: OpenStore,
    private readonly resolvers: Resolvers = {},
  ) {}

  /** @throws Problem `unavailable` before the node has started and when it is stopping */
  get running(): RunningNode {
    if (this.node === null) throw new Problem('unavailable', this.waitingFor);
    return this.node;
  }

  /**
   * Starts once; later calls wait for the same start. A database that is away is waited for.
   * @param port the one that was listened on
   * @throws what stands in the way for good: a table without primary key, missing privileges, another node's database
   */
  start(port: number): Promise<void> {
    this.starting ??= this.open(port);
    return this.starting;
  }

  /** Ends links and waits; requests under way still have their database. */
  async stop(): Promise<void> {
    if (this.ending.signal.aborted) return;
    this.waitingFor = 'The node is stopping.';
    this.ending.abort();
    await this.starting?.catch(() => undefined); // whoever called start() was told
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

  private async open(port: number): Promise<void> {
    const warn = (message: string): void => this.log.warn(message);
    const store = await this.whenDatabaseAnswers(() => this.openStore(this.configuration, warn, this.resolvers));
    if (store === null) return;
    this.store = store;
    if (this.ending.signal.aborted) return;
    const node = await startNode(this.configuration, store, port, warn, new EventLog(this.log).listener);
    if (this.ending.signal.aborted) return node.stop();
    this.node = node;
    const { nodeId, epoch } = store.identity;
    this.log.log({ msg: 'ready', node_id: nodeId, epoch, tables: store.tables() });
  }

  /** Null when the node was stopped meanwhile. */
  private async whenDatabaseAnswers(open: () => Promise<NodeStore>): Promise<NodeStore | null> {
    for (let pause = firstPause; !this.ending.signal.aborted; pause = Math.min(pause * 2, longestPause)) {
      try {
        return await open();
      } catch (error) {
        if (!(error instanceof Problem) || error.status !== 503) {
          this.waitingFor = 'The node could not be started. Its log says why.';
          throw error;
        }
        if (this.waitingFor !== error.message) this.log.warn(`${error.message} Trying again until it answers.`);
        this.waitingFor = error.message;
        await sleep(pause, undefined, { signal: this.ending.signal }).catch(() => undefined); // ended while asleep
      }
    }
    return null;
  }
}
