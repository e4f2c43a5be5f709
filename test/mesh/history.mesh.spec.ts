import { eventually, eventuallyEqual, type LiveNode, startMesh } from '../support/mesh-node';

const schema = `
  CREATE TABLE products (id int PRIMARY KEY, name text, price numeric(10,2));
  CREATE TABLE stock (site text, "item no" text, qty int, PRIMARY KEY (site, "item no"));
  CREATE TABLE notes (id text PRIMARY KEY, words text)`;

interface Shown {
  readonly table: string;
  readonly key: Record<string, string>;
  readonly versions: {
    readonly stamp: number;
    readonly at: string;
    readonly origin: string;
    readonly node_id: string;
    readonly vector: Record<string, number>;
    readonly deleted: boolean;
    readonly row: Record<string, string | null> | null;
    readonly how: string;
    readonly recorded_at: string;
    readonly current: boolean;
  }[];
}

const rowOf = (table: string, key: string) => `table/${table}/rows/${encodeURIComponent(key)}`;
const history = (node: LiveNode, table: string, key: string) => node.ask<Shown>(`${rowOf(table, key)}/history`);

/** The problem that a request ends in. */
async function refused(node: LiveNode, path: string, body?: unknown): Promise<{ status: number; code: string }> {
  const answer = await fetch(`${node.url}/p2p/${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  });
  const { status, code } = (await answer.json()) as { status: number; code: string };
  expect(answer.status).toBe(status);
  return { status, code };
}

it('a row is read back as it was, and restored on every node by one request', async () => {
  await using mesh = await startMesh('a <-> b <-> c', schema, { all: { maxVersions: '5, notes=0' } });
  const [a, b, c] = [mesh.node('a'), mesh.node('b'), mesh.node('c')];
  await mesh.connected();
  await a.sql(`INSERT INTO products VALUES (1, 'Lamp', 49)`);
  await eventuallyEqual(a, b, c);
  await c.sql(`UPDATE products SET name = 'Lamp, red', price = 45.5`);
  await eventuallyEqual(a, b, c);

  const { table, key, versions } = await history(a, 'products', '01');
  expect({ table, key }).toEqual({ table: 'products', key: { id: '1' } });
  expect(versions.map(({ how, node_id, row, current }) => ({ how, node_id, row, current }))).toEqual([
    { how: 'received', node_id: 'c', row: { id: '1', name: 'Lamp, red', price: '45.50' }, current: true },
    { how: 'written', node_id: 'a', row: { id: '1', name: 'Lamp', price: '49.00' }, current: false },
  ]);
  const [red, lamp] = versions as [Shown['versions'][0], Shown['versions'][0]];
  expect(red.vector).toEqual({ [red.origin]: red.stamp, [lamp.origin]: lamp.stamp });
  expect(Math.abs(Date.parse(red.at) - Date.parse(red.recorded_at))).toBeLessThan(60_000);
  expect((await history(b, 'products', '1')).versions.map(({ how }) => how)).toEqual(['received', 'received']);

  const { stamp, origin } = lamp;
  const restored = await b.ask<{ version: { stamp: number; origin: string }; left_out: string[] }>(
    `${rowOf('products', '1')}/restore`,
    'POST',
    { version: { stamp, origin } },
  );
  expect(restored).toMatchObject({ key: { id: '1' }, restored: { stamp, origin }, left_out: [] });
  await eventuallyEqual(a, b, c);
  expect(await c.sql('SELECT * FROM products')).toEqual([{ id: 1, name: 'Lamp', price: '49.00' }]);
  await eventually('the others have it as received', async () =>
    expect((await history(a, 'products', '1')).versions[0]).toMatchObject({ ...restored.version, how: 'received' }),
  );

  // Keys of several columns, and what a path would take for its own.
  const composite = JSON.stringify(['eu/1', 'a%2F "b"']);
  expect(await refused(a, `${rowOf('stock', composite)}/history`)).toEqual({ status: 404, code: 'not_found' });
  await a.sql(`INSERT INTO stock VALUES ('eu/1', 'a%2F "b"', 1)`);
  await a.sql('DELETE FROM stock');
  const gone = await history(a, 'public.stock', composite);
  expect(gone.key).toEqual({ site: 'eu/1', 'item no': 'a%2F "b"' });
  expect(gone.versions.map(({ deleted, row }) => ({ deleted, qty: row?.qty }))).toEqual([
    { deleted: true, qty: undefined },
    { deleted: false, qty: '1' },
  ]);

  // What there is not, what is off, and what nobody of good will sends.
  const nothing = { status: 404, code: 'not_found' };
  expect(await refused(a, `${rowOf('products', '2')}/history`)).toEqual(nothing);
  expect(await refused(a, `${rowOf('secrets', '1')}/history`)).toEqual(nothing);
  expect(await refused(a, `${rowOf('pg_catalog.pg_authid', '1')}/history`)).toEqual(nothing);
  expect(await refused(a, `${rowOf('products', '1')}/restore`, { version: { stamp: 1, origin } })).toEqual(nothing);
  expect(await refused(a, `${rowOf('notes', '1')}/history`)).toEqual({ status: 409, code: 'history_off' });
  expect(await refused(a, `${rowOf('notes', '1')}/restore`, { version: { stamp, origin } })).toMatchObject({
    status: 409,
  });
  const bad = { status: 400, code: 'bad_request' };
  for (const text of ['x', '1; DROP TABLE products', '99999999999', '1\u0000', '[1]']) {
    expect({ text, ...(await refused(a, `${rowOf('products', text)}/history`)) }).toEqual({ text, ...bad });
  }
  for (const text of ['eu', '["eu"]', '["eu", 1]', '{"site": "eu"}', '["eu", "1", "2"]', '[null, "1"]']) {
    expect({ text, ...(await refused(a, `${rowOf('stock', text)}/history`)) }).toEqual({ text, ...bad });
  }
});

it('what lost a conflict is in the history of every node, and can be had back', async () => {
  await using mesh = await startMesh('a <-> b', schema, { all: { maxVersions: '5' } });
  const [a, b] = [mesh.node('a'), mesh.node('b')];
  await mesh.connected();
  await a.sql(`INSERT INTO notes VALUES ('n', 'both know')`);
  await eventuallyEqual(a, b);
  await b.stop();
  await a.sql(`UPDATE notes SET words = 'early'`);
  await b.sql(`UPDATE notes SET words = 'late'`);
  await b.start();
  await eventuallyEqual(a, b);
  for (const node of [a, b]) {
    const { versions } = await history(node, 'notes', 'n');
    expect(versions.map(({ row, current }) => [row!.words, current])).toEqual([
      ['late', true],
      ['early', false],
      ['both know', false],
    ]);
    expect(versions[1]!.how).toBe('lost');
  }
  const { stamp, origin } = (await history(b, 'notes', 'n')).versions[1]!;
  await b.ask(`${rowOf('notes', 'n')}/restore`, 'POST', { version: { stamp, origin } });
  await eventuallyEqual(a, b);
  expect(await a.sql('SELECT words FROM notes')).toEqual([{ words: 'early' }]);
});

interface Told {
  readonly table: string;
  readonly key: Record<string, string>;
  readonly version: { readonly node_id: string };
  readonly via: string | null;
  readonly composed: boolean;
  readonly rule: { readonly strategy: string };
  readonly reason: string;
  readonly columns: Record<string, { readonly write: { readonly node_id: string; readonly at: string } | null }>;
  readonly against: readonly { readonly node_id: string; readonly row: Record<string, string> | null }[];
  readonly covered: readonly { readonly node_id: string }[];
  readonly conflicts: readonly number[];
}

it('every node tells why a row is as it is: who wrote what of it, against whom, and what a write has ended', async () => {
  await using mesh = await startMesh('a <-> b <-> c', schema, { all: { conflict: 'products=merge-fields' } });
  const [a, b, c] = [mesh.node('a'), mesh.node('b'), mesh.node('c')];
  const why = (node: LiveNode) => node.ask<Told>(`${rowOf('products', '01')}/why`);
  await mesh.connected();
  await a.sql(`INSERT INTO products VALUES (1, 'Lamp', 49)`);
  await eventuallyEqual(a, b, c);
  expect(await why(c)).toMatchObject({ via: 'b', composed: false, against: [], conflicts: [] });

  await b.stop();
  await a.sql(`UPDATE products SET name = 'Lamp, red'`);
  await c.sql(`UPDATE products SET price = 45.5`);
  await b.start();
  await eventuallyEqual(a, b, c);
  for (const node of [a, b, c]) {
    const told = await why(node);
    expect(told).toMatchObject({ table: 'public.products', key: { id: '1' }, composed: true });
    expect(told.rule).toEqual({ strategy: 'merge-fields', resolver: null, prefix: null });
    expect(
      Object.entries(told.columns)
        .map(([column, { write }]) => `${column} of ${write!.node_id}`)
        .sort(),
    ).toEqual(['id of a', 'name of a', 'price of c']);
    expect(told.against.map(({ node_id, row }) => [node_id, row!.name, row!.price])).toEqual([
      ['c', 'Lamp', '45.50'],
      ['a', 'Lamp, red', '49.00'],
    ]);
    const conflict = await node.ask<{ versions: unknown[] }>(`conflicts/${told.conflicts[0]}`);
    expect(conflict.versions).toHaveLength(2);
  }
  await b.sql(`UPDATE products SET name = 'Lamp, blue'`);
  await eventuallyEqual(a, b, c);
  for (const node of [a, b, c]) {
    const told = await why(node);
    expect(told).toMatchObject({ version: { node_id: 'b' }, composed: false, against: [] });
    expect(told.covered.map(({ node_id }) => node_id).sort()).toEqual(['a', 'c']);
    expect(told.columns.price!.write!.node_id).toBe('c');
  }

  const nothing = { status: 404, code: 'not_found' };
  for (const [table, key] of [
    ['products', '2'],
    ['secrets', '1'],
    ['pg_catalog.pg_authid', '1'],
    ['x"; DROP TABLE products; --', '1'],
    ['stock', '["eu","1"]'],
  ]) {
    expect({ table, ...(await refused(a, `${rowOf(encodeURIComponent(table!), key!)}/why`)) }).toEqual({
      table,
      ...nothing,
    });
  }
  const bad = { status: 400, code: 'bad_request' };
  for (const [table, key] of [
    ['products', 'x'],
    ['products', `1' OR '1'='1`],
    ['products', '1\0'],
    ['products', '99999999999999999999'],
    ['stock', '["eu"]'],
    ['stock', '{"__proto__": 1}'],
    ['stock', '['.repeat(5_000)],
  ]) {
    expect({ key, ...(await refused(a, `${rowOf(table!, key!)}/why`)) }).toEqual({ key, ...bad });
  }
});
