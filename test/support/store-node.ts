import { type FeedRequest, nextRequest, type Rules } from '@pgmesh/core';
import { PostgresStore, type StoreOptions } from '@pgmesh/store';
import { decodeFrames, encodeFrame, type Frame } from '@pgmesh/wire';
import { createDatabase, type TestDatabase } from './database';

/** A node's database with its store, without a network around it. */
export interface StoreNode extends AsyncDisposable {
  readonly db: TestDatabase;
  readonly store: PostgresStore;
  readonly id: string;
  sql: TestDatabase['sql'];
}

/** What it takes to compare a node with others. */
export interface Comparable {
  readonly db: Pick<TestDatabase, 'sql'>;
  readonly store: Pick<PostgresStore, 'tables' | 'find'>;
}

/** A new database with `schema` in it, its tables under capture. */
export async function storeNode(
  id: string,
  schema: string,
  tables: readonly string[] = ['*'],
  options: Partial<StoreOptions> & { base?: string } = {},
): Promise<StoreNode> {
  const db = await createDatabase(options.base);
  await db.pool.query(schema);
  const node = await opened(db, id, tables, options);
  return {
    ...node,
    async [Symbol.asyncDispose]() {
      await node[Symbol.asyncDispose]();
      await db[Symbol.asyncDispose]();
    },
  };
}

/** A node on a database that outlives it. */
export async function opened(
  db: TestDatabase,
  id: string,
  tables: readonly string[] = ['*'],
  options: Partial<StoreOptions> = {},
): Promise<StoreNode> {
  const store = await openStore(db, id, tables, options);
  return { db, store, id, sql: db.sql.bind(db), [Symbol.asyncDispose]: () => store.close() };
}

export function openStore(
  db: TestDatabase,
  nodeId: string,
  tables: readonly string[] = ['*'],
  options: Partial<StoreOptions> = {},
): Promise<PostgresStore> {
  return PostgresStore.open({ url: db.url, nodeId, tables, ...options });
}

/**
 * Brings all that `from` has and `to` lacks, window by window, through the wire's encoding, or the first `windows` of it. Returns the rows that
 * travelled.
 */
export async function pull(
  from: Pick<StoreNode, 'store' | 'id'>,
  to: Pick<StoreNode, 'store' | 'id'>,
  limit = 20_000,
  windows = Infinity,
): Promise<number> {
  let rows = 0;
  let last: FeedRequest['kind'] | null = null;
  for (let steps = 0; steps < 10_000; steps++) {
    if (steps >= windows) return rows;
    const { epoch, nodeId } = from.store.identity;
    const shared = to.store.tables().filter((table) => from.store.tables().includes(table));
    const position = await to.store.inbox.position(nodeId);
    const request = nextRequest(position, epoch, shared, last, to.store.references());
    if (!request) return rows;
    const window = await from.store.feed.open(request, { except: () => [to.id], limit });
    const applied = await to.store.inbox.apply(decodeFrames(encoded(window.frames())));
    if (applied.outcome !== 'applied') throw new Error(`The window did not connect: ${JSON.stringify(applied.head)}`);
    rows += applied.rows;
    last = request.kind;
    const isCopying = nextRequest(applied.position, epoch, shared, 'window', to.store.references())?.kind === 'copy';
    if (request.kind === 'window' && !window.head.more && !isCopying) return rows;
  }
  throw new Error('The pull came to no end');
}

async function* encoded(frames: AsyncIterable<Frame>): AsyncGenerator<Uint8Array> {
  for await (const frame of frames) yield encodeFrame(frame);
}

/** Pulls in a ring until all nodes have everything. */
export async function settle(...nodes: readonly Pick<StoreNode, 'store' | 'id'>[]): Promise<void> {
  for (let round = 0; round < nodes.length; round++) {
    for (const to of nodes) for (const from of nodes) if (from !== to) await pull(from, to);
  }
}

/** All that was parked is settled, everything has been exchanged, and the nodes are the same. */
export async function settledTogether(...nodes: readonly StoreNode[]): Promise<void> {
  for (let i = 0; i < 3; i++) {
    for (const { store } of nodes) await store.settleParked();
    await settle(...nodes);
  }
  await expectEqual(...nodes);
}

/** Three nodes that decide by these rules, for as long as the work takes. */
export async function withThreeNodes(
  schema: string,
  rules: Rules,
  work: (a: StoreNode, b: StoreNode, c: StoreNode) => Promise<void>,
): Promise<void> {
  const nodes = await Promise.all(['a', 'b', 'c'].map((id) => storeNode(id, schema, ['*'], { rules })));
  try {
    await work(...(nodes as [StoreNode, StoreNode, StoreNode]));
  } finally {
    for (const node of nodes) await node[Symbol.asyncDispose]();
  }
}

/** A table's rows and versions as text, for comparing nodes byte for byte (property P2). */
export async function contents(node: Comparable, table: string): Promise<{ rows: string[]; versions: string[] }> {
  const { rows, versions } = imagesOf(node, table);
  const read = async (image: string) =>
    (await node.db.sql<{ line: string }>(`SELECT x::text AS line FROM (${image}) AS x ORDER BY 1`)).map(
      ({ line }) => line,
    );
  return { rows: await read(rows), versions: await read(versions) };
}

/** The same as a few numbers, for asking often. */
export async function digest(node: Comparable, table: string): Promise<string> {
  const { rows, versions } = imagesOf(node, table);
  const sums = [rows, versions].map(
    (image) => `(SELECT concat(count(*), ' ', sum(hashtextextended(x::text, 0))) FROM (${image}) AS x)`,
  );
  return (await node.db.sql<{ digest: string }>(`SELECT concat_ws(' ', ${sums.join(', ')}) AS digest`))[0]!.digest;
}

function imagesOf({ store }: Comparable, table: string): { rows: string; versions: string } {
  const shape = store.find(table);
  if (!shape) throw new Error(`${table} is not shared`);
  const columns = shape.columns.map((column) => column.ident).join(', ');
  const keys = shape.key.map((_, i) => `key${i + 1}`).join(', ');
  return {
    rows: `SELECT ${columns} FROM ${shape.name}`,
    // A deletion that is all of a row's state may have been forgotten here and not there, and where a sibling was made, may not be known.
    versions: `SELECT ${keys}, stamp, origin, priority, past, fields, (SELECT jsonb_agg(s - 'made') FROM jsonb_array_elements(siblings) AS s) AS siblings,
      deleted FROM ${shape.meta} WHERE NOT (deleted AND siblings IS NULL)`,
  };
}

/** Asserts that all nodes hold the same rows and versions of all their tables. */
export async function expectEqual(...nodes: readonly Comparable[]): Promise<void> {
  const [first, ...rest] = nodes;
  for (const table of first!.store.tables()) {
    const wanted = await contents(first!, table);
    for (const other of rest) expect({ table, ...(await contents(other, table)) }).toEqual({ table, ...wanted });
  }
}
