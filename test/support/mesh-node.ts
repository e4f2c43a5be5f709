/** Real nodes in this process, over HTTP on loopback, each beside a database of its own; their topology is a line of text. */
import { APP_FILTER } from '@nestjs/core';
import {
  type Configuration,
  configurationOf,
  MeshNode,
  P2pModule,
  type P2pOptions,
  type PeerView,
  ProblemFilter,
  serve,
  type Served,
} from '@pgmesh/nest';
import type { MeshEvent, MeshStatus, SyncRecord } from '@pgmesh/sync';
import { readShapes } from '../../libs/store/src/table-shape';
import { createDatabase, type TestDatabase } from './database';
import { Proxy } from './proxy';
import { type Comparable, digest, expectEqual } from './store-node';

/** Settings by name, and what only code can give. */
export type NodeSettings = Partial<Configuration> & Pick<P2pOptions, 'resolvers'>;

/** Short enough that a test need not wait for it, long enough for two busy cores. */
const brisk: NodeSettings = { syncInterval: 1_000, timeout: 3_000 };

const deadline = 30_000;

/** One node. It may be stopped and started again on the same database and port. */
export class LiveNode implements AsyncDisposable {
  /** Of all its lives. */
  readonly events: MeshEvent[] = [];
  #served: Served | null = null;
  #port = 0;

  private constructor(
    readonly id: string,
    readonly db: TestDatabase,
    private readonly settings: NodeSettings,
    private readonly ownsDatabase: boolean,
  ) {}

  /** `database` is for a test that has its own, and ends it; else one is made and gone with the node. */
  static async start(id: string, schema: string | TestDatabase, settings: NodeSettings = {}): Promise<LiveNode> {
    const given = typeof schema !== 'string';
    const database = given ? schema : await createDatabase();
    const node = new LiveNode(id, database, settings, !given);
    try {
      if (!given) await database.sql(schema);
      await node.start();
      return node;
    } catch (error) {
      await node[Symbol.asyncDispose]();
      throw error;
    }
  }

  async start(changed: NodeSettings = {}): Promise<void> {
    const configuration = configurationOf({
      nodeId: this.id,
      port: this.#port,
      host: '127.0.0.1',
      discovery: ['manual'],
      logLevel: 'silent',
      databaseUrl: this.db.url,
      tables: ['*'],
      ...brisk,
      ...this.settings,
      ...changed,
    });
    const problems = { module: class Problems {}, providers: [{ provide: APP_FILTER, useClass: ProblemFilter }] };
    const imports = [P2pModule.forRoot(configuration), problems];
    this.#served = await serve({ configuration, title: this.id, imports });
    this.#port = this.#served.port;
    this.#served.app.get(MeshNode, { strict: false }).running.mesh.events.on((event) => this.events.push(event));
  }

  async stop(): Promise<void> {
    const served = this.#served;
    this.#served = null;
    await served?.stop();
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  sql: TestDatabase['sql'] = (text, params) => this.db.sql(text, params);

  /** A request to one of its endpoints; what is not a success throws the answer. */
  async ask<Answer>(path: string, method = 'GET', body?: unknown): Promise<Answer> {
    const response = await fetch(`${this.url}/p2p/${path}`, {
      method,
      headers: {
        ...(this.settings.secret ? { authorization: `Bearer ${this.settings.secret}` } : {}),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} /p2p/${path}: ${response.status} ${text}`);
    return JSON.parse(text) as Answer;
  }

  status(): Promise<MeshStatus> {
    return this.ask('status');
  }

  peers(): Promise<PeerView[]> {
    return this.ask('peers');
  }

  history(): Promise<SyncRecord[]> {
    return this.ask('sync/history?limit=1000');
  }

  /** Makes another node known to it by hand. */
  async dial(url: string): Promise<void> {
    await this.ask('peers', 'POST', { url });
  }

  /** Its link to that peer, by node id or URL. */
  async link(peer: string): Promise<MeshStatus['peers'][number]> {
    const { peers } = await this.status();
    const link = peers.find(({ node_id, url }) => node_id === peer || url === peer);
    if (!link) throw new Error(`${this.id} has no link to ${peer}: ${JSON.stringify(peers)}`);
    return link;
  }

  /** Waits for an event like this: what the database or a status shows already may be told a moment later. */
  async tells(like: { readonly type: MeshEvent['type']; readonly [field: string]: unknown }): Promise<void> {
    await eventually(`${this.id} tells of ${like.type}`, () =>
      expect(this.events).toContainEqual(expect.objectContaining(like)),
    );
  }

  /** Rows that came in from peers, news or not. */
  get rowsReceived(): number {
    return this.events.reduce((sum, event) => sum + (event.type === 'changes_received' ? event.rows : 0), 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    if (this.ownsDatabase) await this.db[Symbol.asyncDispose]();
  }
}

/** Nodes and the links between them, each a proxy. */
export class LiveMesh implements AsyncDisposable {
  constructor(
    private readonly byId: ReadonlyMap<string, LiveNode>,
    private readonly links: ReadonlyMap<string, Proxy>,
  ) {}

  get nodes(): readonly LiveNode[] {
    return [...this.byId.values()];
  }

  node(id: string): LiveNode {
    const node = this.byId.get(id);
    if (!node) throw new Error(`The topology has no node ${id}`);
    return node;
  }

  /** The link over which one node dials another. */
  link(from: string, to: string): Proxy {
    const proxy = this.links.get(`${from} -> ${to}`);
    if (!proxy) throw new Error(`In the topology ${from} does not dial ${to}`);
    return proxy;
  }

  get proxies(): readonly Proxy[] {
    return [...this.links.values()];
  }

  /** Bytes over all links since the start. */
  get bytes(): number {
    return this.proxies.reduce((sum, { bytes }) => sum + bytes.sent + bytes.answered, 0);
  }

  get rowsReceived(): number {
    return this.nodes.reduce((sum, { rowsReceived }) => sum + rowsReceived, 0);
  }

  /** Waits until every link has greeted its peer and holds a position in its feed: first copies have ended. */
  async connected(): Promise<void> {
    await eventually('all links are live, and first copies have ended', async () => {
      const links = (await Promise.all(this.nodes.map((node) => node.status()))).flatMap(({ peers }) => peers);
      expect(
        links.map(({ state, position, copying, last_error: error }) => ({
          state,
          error,
          copied: position !== null && !copying,
        })),
      ).toEqual(Array.from(this.links, () => ({ state: 'live', error: null, copied: true })));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Nodes first: an orderly stop needs its links.
    await Promise.all(this.nodes.map((node) => node[Symbol.asyncDispose]()));
    await Promise.all(this.proxies.map((proxy) => proxy[Symbol.asyncDispose]()));
  }
}

export interface MeshSettings {
  readonly all?: NodeSettings;
  /** Settings of single nodes. */
  readonly of?: Readonly<Record<string, NodeSettings>>;
  /** The nodes on whose databases statements run before they start. */
  readonly before?: Readonly<Record<string, string>>;
}

/**
 * `await using mesh = await startMesh('a <-> b, b -> c', schema)`: `->` is who dials whom.
 * @param schema SQL that makes the tables, on every node
 */
export async function startMesh(
  topology: string,
  schema: string,
  { all = {}, of = {}, before = {} }: MeshSettings = {},
): Promise<LiveMesh> {
  const links = readTopology(topology);
  const ids = [...new Set(links.flat())];
  const start = (id: string) => LiveNode.start(id, `${schema};${before[id] ?? ''}`, { ...all, ...of[id] });
  const started = await Promise.allSettled(ids.map(start));
  const nodes = new Map(started.flatMap((one) => (one.status === 'fulfilled' ? [[one.value.id, one.value]] : [])));
  const proxies = new Map<string, Proxy>();
  const mesh = new LiveMesh(nodes, proxies);
  try {
    for (const one of started) if (one.status === 'rejected') throw one.reason;
    for (const [from, to] of links) proxies.set(`${from} -> ${to}`, await Proxy.to(mesh.node(to).port));
    await Promise.all(links.map(([from, to]) => mesh.node(from).dial(mesh.link(from, to).url)));
    return mesh;
  } catch (error) {
    await mesh[Symbol.asyncDispose]();
    throw error;
  }
}

/** `a <-> b -> c, d -> a` as pairs of who dials whom. */
export function readTopology(text: string): [string, string][] {
  return text.split(',').flatMap((chain) => {
    const [first, ...steps] = chain.trim().split(/\s+(?=<?->)/);
    let from = first!;
    return steps.flatMap((step): [string, string][] => {
      const [, both, to] = /^(<?)->\s+(\w+)$/.exec(step) ?? [];
      if (to === undefined) throw new Error(`${JSON.stringify(chain)} is no topology: write "a <-> b -> c"`);
      const [one, other] = [from, to];
      from = to;
      return both
        ? [
            [one, other],
            [other, one],
          ]
        : [[one, other]];
    });
  });
}

/** Waits until all nodes hold the same rows and version metadata in all their tables. */
export async function eventuallyEqual(...nodes: readonly LiveNode[]): Promise<void> {
  const compared = await Promise.all(nodes.map(comparable));
  const tables = compared[0]!.store.tables();
  try {
    await eventually('the nodes are equal', async () => {
      const digests = compared.map((node) => Promise.all(tables.map((table) => digest(node, table))));
      expect(new Set((await Promise.all(digests)).map(String)).size).toBe(1);
    });
  } catch (error) {
    const told = await Promise.all(nodes.map(async (node) => JSON.stringify((await node.status()).peers)));
    throw new Error(`${(error as Error).message}\n${told.join('\n')}`);
  }
  await expectEqual(...compared);
}

async function comparable({ db }: LiveNode): Promise<Comparable> {
  const shapes = await readShapes(db.pool);
  const find = (name: string) => shapes.find((shape) => shape.name === name);
  return { db, store: { tables: () => shapes.map(({ name }) => name), find } };
}

/** Waits for what must come, and says what was there instead if it does not. */
export async function eventually(
  what: string,
  expectation: () => Promise<unknown> | unknown,
  within = deadline,
): Promise<void> {
  const end = Date.now() + within;
  for (;;) {
    try {
      const result = await expectation();
      if (result !== false) return;
      throw new Error('It is not so.');
    } catch (error) {
      if (Date.now() > end) throw new Error(`Not within ${within} ms: ${what}\n${(error as Error).message}`);
    }
    await pause(25);
  }
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
