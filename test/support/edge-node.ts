import {
  configurationOf,
  type NodeStore,
  P2pModule,
  ProblemFilter,
  serve,
  type Served,
  type Configuration,
} from '@pgmesh/nest';
import { defaultRules } from '@pgmesh/core';
import { Problem } from '@pgmesh/wire';
import { type DynamicModule, type Type } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';

/** A database that shares one table and can be taken away: for tests of what stands in front of it. */
export class SparseStore implements NodeStore {
  away = false;
  closed = false;
  asked: unknown[] = [];
  readonly newsListeners = new Set<() => void>();
  readonly identity: NodeStore['identity'];
  page = { json: '{"changes":[]}', count: 1 };

  constructor(nodeId: string) {
    this.identity = { nodeId, epoch: 'e1' };
  }

  private reach(): void {
    if (this.away) throw new Problem('unavailable', 'The database cannot be reached.');
  }

  private async noTable(): Promise<never> {
    this.reach();
    throw new Problem('not_found', 'No table of that name is shared here.');
  }

  rules: NodeStore['rules'] = defaultRules;
  readonly slot: NodeStore['slot'] = null;
  readonly leads = true;
  readonly displaced: NodeStore['displaced'] = new Promise(() => undefined);
  references: NodeStore['references'] = () => [];
  forms: NodeStore['forms'] = () => new Map();
  refreshForms: NodeStore['refreshForms'] = async () => undefined;
  onForms: NodeStore['onForms'] = () => () => undefined;
  readonly resolvers: readonly string[] = [];
  readonly feed: NodeStore['feed'] = {
    open: async () => {
      throw new Problem('unavailable', 'Nothing to read.');
    },
    onNews: (listener) => {
      this.newsListeners.add(listener);
      return () => this.newsListeners.delete(listener);
    },
  };
  readonly inbox: NodeStore['inbox'] = {
    apply: async (frames) => {
      this.reach();
      for await (const frame of frames) this.asked.push(frame);
      throw new Problem('bad_request', 'A window begins with a frame of type "window".');
    },
    position: async () => null,
    copyAnew: async () => false,
    knowledge: async () => {
      this.reach();
      return {};
    },
    seen: async () => ({}),
  };
  readonly digests: NodeStore['digests'] = {
    order: () => this.noTable(),
    settled: () => this.noTable(),
    read: () => this.noTable(),
    endOf: () => this.noTable(),
    held: () => this.noTable(),
    open: () => this.noTable(),
    settle: () => this.noTable(),
  };
  readonly history: NodeStore['history'] = { add: async () => undefined, list: async () => [] };
  readonly peerBook: NodeStore['peerBook'] = {
    all: async () => [],
    put: async () => undefined,
    remove: async () => undefined,
  };

  readonly collect: NodeStore['collect'] = async () => ({});
  readonly tombstones: NodeStore['tombstones'] = async () => [];
  readonly members: NodeStore['members'] = {
    heads: async () => {
      this.reach();
      return [];
    },
    list: async () => [],
    join: async () => [],
    change: async () => null,
    claim: async () => null,
    lag: async () => ({ rows: 0, more: false, since: null, holdsUpSince: null }),
  };

  readonly conflicts: NodeStore['conflicts'] = {
    list: async (query) => {
      this.reach();
      this.asked.push(query);
      return { conflicts: [], cursor: null };
    },
    find: async () => {
      throw new Problem('not_found', 'There is no such conflict here.');
    },
    resolve: async (id, decision) => {
      this.reach();
      this.asked.push({ id, decision });
      throw new Problem('not_found', 'There is no such conflict here.');
    },
    countOpen: async () => {
      this.reach();
      return 0;
    },
  };

  readonly parked: NodeStore['parked'] = {
    list: async (query) => {
      this.reach();
      this.asked.push(query);
      return { parked: [], cursor: null };
    },
    find: async () => {
      throw new Problem('not_found', 'No such row is parked here.');
    },
    count: async () => {
      this.reach();
      return {};
    },
    discard: async (id) => {
      this.reach();
      this.asked.push({ id });
      throw new Problem('not_found', 'No such row is parked here.');
    },
    change: async (id, row) => {
      this.reach();
      this.asked.push({ id, row });
      throw new Problem('not_found', 'No such row is parked here.');
    },
  };

  async settleParked() {
    this.reach();
    this.asked.push('settleParked');
    return { parked: [], returned: [], discarded: [] };
  }

  onParking = () => () => undefined;

  readonly rows: NodeStore['rows'] = {
    key: async (_table, key) => [key],
    history: async (table, key) => {
      this.reach();
      this.asked.push([table, key]);
      return { key: { id: key }, versions: [] };
    },
    why: async () => {
      throw new Problem('not_found', 'There is no such row.');
    },
    restore: async (table, key, version) => {
      this.reach();
      this.asked.push([table, key, version]);
      return { key: { id: key }, version, leftOut: [] };
    },
  };

  tables = (): string[] => ['public.products'];

  async changes(...asked: Parameters<NodeStore['changes']>) {
    this.reach();
    this.asked.push(asked);
    return this.page;
  }

  async setRules(rules: NodeStore['rules']) {
    this.reach();
    this.rules = rules;
  }

  async conflictsResolved() {
    this.reach();
    return 0;
  }

  async health() {
    this.reach();
    return {};
  }

  async close() {
    this.closed = true;
  }
}

export interface EdgeNode extends AsyncDisposable {
  readonly store: SparseStore;
  readonly served: Served;
  readonly url: string;
}

/** A node over HTTP on a free port of loopback: `await using node = await startEdge()`. */
export async function startEdge(
  given: Partial<Configuration> = {},
  modules: (DynamicModule | Type)[] = [],
): Promise<EdgeNode> {
  const configuration = configurationOf({
    nodeId: 'edge',
    port: 0,
    discovery: ['manual'],
    logLevel: 'silent',
    host: '127.0.0.1',
    ...given,
  });
  const store = new SparseStore(configuration.nodeId);
  const problems = { module: class Problems {}, providers: [{ provide: APP_FILTER, useClass: ProblemFilter }] };
  const served = await serve({
    configuration,
    title: 'edge',
    imports: [P2pModule.forRoot({ ...configuration, openStore: async () => store }), problems, ...modules],
  });
  return { store, served, url: served.url, [Symbol.asyncDispose]: () => served.stop() };
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** A request as it is written, without the corrections that fetch makes. */
export function raw(
  url: string,
  {
    method = 'GET',
    path,
    headers = {},
    body,
  }: { method?: string; path: string; headers?: Record<string, string>; body?: Buffer | string },
): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const request = httpRequest({ hostname, port, method, path, headers, agent: false }, (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece));
      response.on('error', reject);
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text: Buffer.concat(pieces).toString(),
        }),
      );
    });
    // A server that has answered before it has read everything may cut the connection.
    let answered = false;
    request.once('response', () => (answered = true));
    request.once('error', (error) => answered || reject(error));
    request.end(body);
  });
}
