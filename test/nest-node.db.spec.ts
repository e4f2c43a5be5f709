import { type Configuration, configurationOf, P2pModule, ProblemFilter, serve, type Served } from '@pgmesh/nest';
import { APP_FILTER } from '@nestjs/core';
import { encodeFrame, type Frame, protocolVersion, windowContentType } from '@pgmesh/wire';
import { detach, EmbeddedServer } from '@pgmesh/store';
import { createDatabase, startServer, type TestDatabase } from './support/database';
import { raw } from './support/edge-node';

async function node(database: string, given: Partial<Configuration> & { nodeId: string }): Promise<Served> {
  const configuration = configurationOf({
    port: 0,
    discovery: ['manual'],
    logLevel: 'silent',
    databaseUrl: database,
    ...given,
  });
  const problems = { module: class Problems {}, providers: [{ provide: APP_FILTER, useClass: ProblemFilter }] };
  return serve({ configuration, title: 'node', imports: [P2pModule.forRoot(configuration), problems] });
}

const json = async (url: string, path: string) =>
  JSON.parse((await raw(url, { path })).text) as Record<string, unknown>;

async function eventually(what: string, condition: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 30_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`Not within 30 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

const schema = `
  CREATE TABLE products (id int PRIMARY KEY, name text);
  CREATE TABLE "My Table" ("Key" uuid PRIMARY KEY, "a,b" text);
  CREATE TABLE hidden (id int PRIMARY KEY);`;
const tables = ['products', 'public."My Table"'];

async function withTables(): Promise<TestDatabase> {
  const database = await createDatabase();
  await database.sql(schema);
  return database;
}

it('two nodes keep existing tables in sync over HTTP', async () => {
  await using left = await withTables();
  await using right = await withTables();
  await left.sql(`INSERT INTO products VALUES (1, 'there before')`);
  await using a = await node(left.url, { nodeId: 'a', tables });
  await using b = await node(right.url, { nodeId: 'b', tables, peers: [a.url] });
  const names = async (database: TestDatabase) =>
    JSON.stringify(await database.sql('SELECT * FROM products ORDER BY id'));
  const same = async () => (await names(left)) === (await names(right));

  await eventually('the first copy', async () => (await names(right)).includes('there before') && same());
  await right.sql(
    `INSERT INTO products VALUES (2, 'from the right'); UPDATE products SET name = 'changed' WHERE id = 1`,
  );
  await eventually(
    'what plain SQL wrote on the other side',
    async () => (await names(left)).includes('changed') && same(),
  );

  expect(await json(b.url, '/p2p/status')).toMatchObject({
    node_id: 'b',
    active_peers: 1,
    conflicts_resolved: 0,
    tables: ['public."My Table"', 'public.products'],
    tables_synced: 2,
    last_sync: expect.stringMatching(/^\d{4}-/) as string,
  });
  const changes = await json(a.url, '/p2p/table/products/changes/?since=2020-01-01');
  expect(changes).toMatchObject({
    table: 'products',
    node_id: 'a',
    more: false,
    changes: expect.arrayContaining([
      expect.objectContaining({ key: { id: 1 }, op: 'upsert', row: { id: 1, name: 'changed' } }),
    ]) as unknown,
  });
  expect(await json(a.url, '/p2p/sync/history')).not.toHaveLength(0);
  expect(
    (
      await raw(b.url, {
        method: 'POST',
        path: '/p2p/sync/bidirectional',
        headers: { 'content-type': 'application/json' },
        body: '{"peer_id":"a","tables":["products"]}',
      })
    ).status,
  ).toBe(200);
});

it('any identifier is found in the path, and what is hidden is as unknown as what is not there', async () => {
  await using database = await withTables();
  await using a = await node(database.url, { nodeId: 'a', tables });
  for (const name of ['My Table', 'public.My Table', '"My Table"', 'public."My Table"', 'public.products']) {
    expect({
      name,
      status: (await raw(a.url, { path: `/p2p/table/${encodeURIComponent(name)}/changes` })).status,
    }).toEqual({ name, status: 200 });
  }
  const bodies = await Promise.all(
    ['hidden', 'nothing', 'pg_catalog.pg_authid', 'x"; DROP TABLE users; --', '..%2f..%2fetc'].map(async (name) => {
      const { status, text } = await raw(a.url, {
        path: `/p2p/table/${name.includes('%') ? name : encodeURIComponent(name)}/changes`,
      });
      expect(status).toBe(404);
      return text;
    }),
  );
  expect(new Set(bodies).size).toBe(1);
});

it('trap hostile 400: tampered cursors', async () => {
  await using database = await withTables();
  await database.sql(`INSERT INTO "My Table" SELECT gen_random_uuid() FROM generate_series(1, 3)`);
  await using a = await node(database.url, { nodeId: 'a', tables });
  const path = '/p2p/table/My%20Table/changes';
  const { cursor } = (await json(a.url, `${path}?limit=1`)) as { cursor: string };
  const parts = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as [string, string, string, string[]];
  const [epoch, from, to, after] = parts;
  const spoiled: unknown[] = [
    'x',
    [],
    [epoch, 'x', to, after],
    [epoch, from, 7, after],
    [epoch, from, to, ['x', after[1]]],
    [epoch, from, to, [after[0], 'no uuid']],
    [epoch, from, to, [after[0], "'; DROP TABLE products"]],
    [epoch, from, to, [after[0], 'a\0b']],
    [epoch, from, to, ['9999999999999999999', after[1]]],
    [epoch, '9999999999999999999:', null, null],
    [epoch, from, to, [after[0]]],
  ];
  for (const value of spoiled) {
    const tampered = Buffer.from(JSON.stringify(value)).toString('base64url');
    const { status, text } = await raw(a.url, { path: `${path}?cursor=${tampered}` });
    expect({ value, status, text }).toMatchObject({ value, status: expect.any(Number) as number });
    expect([200, 400]).toContain(status);
    if (value !== spoiled[8]) expect({ value, status }).toEqual({ value, status: 400 });
  }
  const elsewhere = Buffer.from(JSON.stringify(['otherepoch', from, to, after])).toString('base64url');
  expect((await raw(a.url, { path: `${path}?cursor=${elsewhere}` })).status).toBe(409);
  expect((await raw(a.url, { path: `${path}?cursor=${cursor}` })).status).toBe(200);
});

const emptyWindow: Frame[] = [
  {
    type: 'window',
    protocol: protocolVersion,
    node: 'b',
    epoch: '0123456789ab',
    kind: 'window',
    from: '0:',
    to: '9:',
    more: false,
    tables: ['public.products'],
    at: null,
    next: null,
    knowledge: {},
    guards: {},
    whole: [],
  },
  { type: 'end', rows: 0 },
];

it('trap hostile 503: the server goes away and comes back, and so does the node, by itself', async () => {
  const server = await startServer();
  const { port } = server.server;
  const database = await server.createDatabase();
  await database.sql(schema);
  await database.pool.end();
  await using a = await node(database.url, { nodeId: 'a', tables });
  const status = async (path: string) => (await raw(a.url, { path })).status;
  expect(await status('/health/ready')).toBe(200);
  await server.server.stop();
  await eventually('not ready', async () => (await status('/health/ready')) === 503);
  expect(await status('/p2p/table/products/changes')).toBe(503);
  expect(await status('/p2p/status')).toBe(503);
  expect(await status('/health/live')).toBe(200);
  const push = await raw(a.url, {
    method: 'POST',
    path: '/p2p/notify-changes',
    headers: { 'content-type': windowContentType },
    body: Buffer.concat(emptyWindow.map(encodeFrame)),
  });
  expect(push.status).toBe(503);
  const again = await EmbeddedServer.start({ dataDir: server.server.dataDir, port });
  try {
    await eventually('ready again', async () => (await status('/health/ready')) === 200);
    expect(await status('/p2p/table/products/changes')).toBe(200);
  } finally {
    await a.stop();
    await again.stop();
    await server[Symbol.asyncDispose]();
  }
});

it('refuses a table without a primary key by name, with the remedy, and leaves nothing listening', async () => {
  await using database = await createDatabase();
  await database.sql('CREATE TABLE loose (id int)');
  await expect(node(database.url, { nodeId: 'a', tables: ['loose'] })).rejects.toThrow(
    /public\.loose: It has no primary key/,
  );
});

it('detach leaves the tables as they were', async () => {
  await using database = await withTables();
  const a = await node(database.url, { nodeId: 'a', tables });
  await a.stop();
  const losing = jest.fn();
  expect(await detach(database.url, losing)).toContain('schema p2p');
  expect(losing).not.toHaveBeenCalled();
  expect(await database.sql(`SELECT FROM pg_trigger WHERE tgrelid = 'products'::regclass`)).toEqual([]);
  await database.sql(`INSERT INTO products VALUES (1, 'still here')`);
});
