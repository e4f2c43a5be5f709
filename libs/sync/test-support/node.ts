import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { decodeFrames, Problem, problemContentType, receiverHeader, windowContentType } from '@pgmesh/wire';
import { chooseEncoding, compress, decompress } from '../src/content-encoding';
import type { MeshEvent } from '../src/events';
import { Mesh, type MeshOptions } from '../src/mesh';
import type { KnownPeer, Peers } from '../src/peers';
import type { MemoryStore } from './memory-store';

/** A directory to which a test adds by hand. */
export class ListedPeers implements Peers {
  readonly silenced: string[] = [];
  #peers: KnownPeer[] = [];
  readonly #listeners = new Set<() => void>();

  list(): readonly KnownPeer[] {
    return this.#peers;
  }

  on(_event: string, listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  add(url: string): void {
    this.#set([...this.#peers, { id: url, nodeId: null, url, urls: [url] }]);
  }

  /** As discovery finds it: nobody has named it. */
  find(url: string, nodeId: string | null): void {
    this.#set([...this.#peers, { id: nodeId ?? url, nodeId, url, urls: [url], byHand: false }]);
  }

  remove(url: string): void {
    this.#set(this.#peers.filter((peer) => peer.url !== url));
  }

  learn(url: string, nodeId: string): 'peer' {
    this.#peers = this.#peers.map((peer) => (peer.url === url ? { ...peer, id: nodeId, nodeId } : peer));
    return 'peer';
  }

  silent(url: string): void {
    this.silenced.push(url);
  }

  #set(peers: KnownPeer[]): void {
    this.#peers = peers;
    for (const listener of [...this.#listeners]) listener();
  }
}

/** What a test may do to requests on their way in: `false` answers 503 instead. */
export type Gate = (path: string, request: IncomingMessage) => boolean | Promise<boolean>;

/** A node on loopback over real HTTP, with a store in memory. */
export class TestNode implements AsyncDisposable {
  readonly peers = new ListedPeers();
  readonly events: MeshEvent[] = [];
  readonly requests: string[] = [];
  gate: Gate = () => true;
  mesh!: Mesh;
  url = '';
  #server!: Server;

  private constructor(
    readonly store: MemoryStore,
    private readonly options: Partial<MeshOptions>,
  ) {}

  static async start(store: MemoryStore, options: Partial<MeshOptions> = {}, port = 0): Promise<TestNode> {
    const node = new TestNode(store, options);
    node.#server = createServer((request, response) => void node.#answer(request, response));
    await new Promise<void>((resolve) => node.#server.listen(port, '127.0.0.1', resolve));
    node.url = `http://127.0.0.1:${(node.#server.address() as AddressInfo).port}`;
    node.mesh = new Mesh({
      store,
      peers: node.peers,
      url: () => node.url,
      interval: 2_000,
      timeout: 2_000,
      times: { hold: 100, grace: 100, firstRetry: 20, wait: 1_000 },
      ...options,
    });
    node.mesh.events.on((event) => node.events.push(event));
    node.mesh.start();
    return node;
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mesh.stop();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '').replace('/p2p/', '');
    this.requests.push(path);
    const gone = new AbortController();
    response.on('close', () => gone.abort());
    try {
      if (!(await this.gate(path, request))) throw new Problem('unavailable', 'The test has closed the gate.');
      await this.#route(path, request, response, gone.signal);
    } catch (error) {
      if (response.headersSent || response.destroyed) return void response.destroy();
      const problem = error instanceof Problem ? error : new Problem('internal', String(error));
      response
        .writeHead(problem.status, { 'content-type': problemContentType })
        .end(JSON.stringify(problem.toDocument()));
    }
  }

  async #route(path: string, request: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const { exchange } = this.mesh;
    const json = (status: number, body: unknown): void =>
      void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (path === 'hello') return json(200, await exchange.hello(await readJson(request)));
    if (path === 'window') {
      const served = await exchange.window(await readJson(request), signal);
      if (served === null) return void response.writeHead(204).end();
      const encoding = chooseEncoding(request.headers['accept-encoding'], request.socket.remoteAddress, served.rows);
      response.writeHead(200, { 'content-type': windowContentType, 'content-encoding': encoding });
      return pipeline(Readable.from(compress(served.body, encoding)), response);
    }
    if (request.headers['content-type'] !== windowContentType)
      return json(202, await exchange.hint(await readJson(request)));
    const frames = decodeFrames(decompress(request, request.headers['content-encoding']));
    json(200, await exchange.receive(frames, request.headers[receiverHeader] as string | undefined));
  }
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  return JSON.parse(Buffer.concat(pieces).toString());
}

/** Each of them lists each of the others. */
export function fullMesh(...nodes: readonly TestNode[]): void {
  for (const node of nodes) for (const other of nodes) if (other !== node) node.peers.add(other.url);
}

/** Waits for a condition, at most a minute: the machine may be busy. */
export async function eventually(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 150_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Waits until all nodes hold the same rows and versions. */
export async function converged(...nodes: readonly TestNode[]): Promise<void> {
  const states = (): string[] => nodes.map(({ store }) => JSON.stringify(store.contents()));
  await eventually('all nodes hold the same', () => new Set(states()).size === 1).catch((error: Error) => {
    const told = nodes.map(({ mesh }) => JSON.stringify(mesh.status().peers));
    throw new Error(`${error.message}\n${told.join('\n')}`);
  });
}

/** Waits until no node has sent anything for so many milliseconds. */
export async function quiet(ms: number, ...nodes: readonly TestNode[]): Promise<void> {
  const count = (): number => nodes.reduce((sum, { requests }) => sum + requests.length, 0);
  let last = count();
  let since = Date.now();
  await eventually('the nodes are quiet', () => {
    if (count() !== last) [last, since] = [count(), Date.now()];
    return Date.now() - since >= ms;
  });
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
