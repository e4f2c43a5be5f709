/** Parked rows over HTTP on real nodes: how they are listed, counted, told, tried again and decided. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ParkedPage, ParkedView, WhyView } from '@pgmesh/store';
import type { MeshEvent } from '@pgmesh/sync';
import { eventually, eventuallyEqual, type LiveMesh, type LiveNode, startMesh } from '../support/mesh-node';

const schema = `
  CREATE TABLE users (id int PRIMARY KEY, mail text UNIQUE, age int CHECK (age > 0));
  CREATE TABLE parents (id int PRIMARY KEY);
  CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents ON DELETE CASCADE)`;

const list = (node: LiveNode, query = '') => node.ask<ParkedPage>(`parked${query}`);

/** The parked rows of a node once there are so many. */
async function parkedOf(node: LiveNode, count: number): Promise<readonly ParkedView[]> {
  await eventually(`${node.id} has ${count} parked`, async () =>
    expect((await list(node, '?limit=500')).parked).toHaveLength(count),
  );
  return (await list(node, '?limit=500')).parked;
}

const of = <Type extends MeshEvent['type']>({ events }: LiveNode, type: Type) =>
  events.filter((event): event is Extract<MeshEvent, { type: Type }> => event.type === type);

async function apart(mesh: LiveMesh, work: () => Promise<void>): Promise<void> {
  for (const proxy of mesh.proxies) proxy.close();
  await work();
  for (const proxy of mesh.proxies) proxy.open();
}

it('trap 26: two nodes that are apart take one address: the older is parked on all, told of, and back when the address is free', async () => {
  await using mesh = await startMesh('a <-> b <-> c', schema);
  const [a, b, c] = mesh.nodes as [LiveNode, LiveNode, LiveNode];
  await mesh.connected();
  await apart(mesh, async () => {
    await a.sql(`INSERT INTO users VALUES (1, 'ann@example.org', 30)`);
    await sleep(5);
    await b.sql(`INSERT INTO users VALUES (2, 'ann@example.org', 40)`);
  });

  for (const node of mesh.nodes) {
    const [row] = await parkedOf(node, 1);
    expect(row).toMatchObject({
      table: 'public.users',
      key: { id: '1' },
      reason: 'key',
      constraint: 'users_mail_key',
      waits_for: { table: 'public.users', key: { id: '2' } },
      version: { node_id: 'a' },
      row: { id: '1', mail: 'ann@example.org', age: '30' },
    });
    expect(await node.ask(`parked/${row!.id}`)).toEqual(row);
    expect(await node.status()).toMatchObject({ parked: 1, parked_tables: { 'public.users': 1 } });
    const { id, table, key, reason, constraint, message, waits_for } = row!;
    await eventually('it is told of', () =>
      expect(of(node, 'parked')).toEqual([
        expect.objectContaining({ id, table, key, reason, constraint, message, node_id: node.id }),
      ]),
    );
    expect(await node.ask<WhyView>('table/users/rows/1/why')).toMatchObject({
      deleted: false,
      composed: false,
      parked: { id, reason, constraint, message, waits_for },
      version: { node_id: 'a' },
      columns: { mail: { write: { node_id: 'a' } } },
      against: [],
    });
    expect(await node.ask<WhyView>('table/users/rows/2/why')).toMatchObject({ parked: null, deleted: false });
    const { changes } = await node.ask<{ changes: { key: unknown; op: string; version: object; row: unknown }[] }>(
      'table/users/changes',
    );
    expect(changes.find(({ key }) => JSON.stringify(key) === '{"id":1}')).toMatchObject({
      op: 'delete',
      version: { stamp: row!.version.stamp, origin: row!.version.origin },
      row: null,
    });
  }
  await eventuallyEqual(...mesh.nodes);

  await c.sql(`UPDATE users SET mail = 'bob@example.org' WHERE id = 2`);
  for (const node of mesh.nodes) {
    await parkedOf(node, 0);
    await eventually('it is told of', () =>
      expect(of(node, 'unparked')).toEqual([expect.objectContaining({ table: 'public.users', stands: true })]),
    );
    expect(await node.status()).toMatchObject({ parked: 0, parked_tables: {} });
    expect(await node.sql('SELECT id, mail FROM users ORDER BY id')).toEqual([
      { id: 1, mail: 'ann@example.org' },
      { id: 2, mail: 'bob@example.org' },
    ]);
  }
  await eventuallyEqual(...mesh.nodes);
});

it('trap 25: a child of a parent that was deleted elsewhere is parked, and back with the parent', async () => {
  await using mesh = await startMesh('a <-> b <-> c', schema, { before: { a: 'INSERT INTO parents VALUES (1)' } });
  const [a, b, c] = mesh.nodes as [LiveNode, LiveNode, LiveNode];
  await mesh.connected();
  await eventuallyEqual(...mesh.nodes);
  await apart(mesh, async () => {
    await a.sql('DELETE FROM parents');
    await b.sql('INSERT INTO children VALUES (1, 1)');
  });
  for (const node of mesh.nodes) {
    const [row] = await parkedOf(node, 1);
    expect(row).toMatchObject({
      table: 'public.children',
      reason: 'reference',
      constraint: 'children_parent_fkey',
      waits_for: { table: 'public.parents', key: { id: '1' } },
    });
  }
  expect((await list(a, '?table=children')).parked).toHaveLength(1);
  expect((await list(a, '?table=public.users')).parked).toEqual([]);
  await c.sql('INSERT INTO parents VALUES (1)');
  for (const node of mesh.nodes) await parkedOf(node, 0);
  await eventuallyEqual(...mesh.nodes);
  expect(await a.sql('SELECT * FROM children')).toEqual([{ id: 1, parent: 1 }]);
});

it('a child and its parent that come together cause no event', async () => {
  await using mesh = await startMesh('a <-> b', schema);
  const [a, b] = mesh.nodes as [LiveNode, LiveNode];
  await mesh.connected();
  await a.sql('INSERT INTO parents VALUES (1); INSERT INTO children SELECT i, 1 FROM generate_series(1, 100) AS i');
  await eventuallyEqual(a, b);
  expect(await b.sql('SELECT count(*)::int AS n FROM children')).toEqual([{ n: 100 }]);
  expect([...of(b, 'parked'), ...of(b, 'unparked')]).toEqual([]);
});

it('more than a thousand at once are told in part, counted, and read in pages', async () => {
  const before = (from: number) => `INSERT INTO users SELECT i + ${from}, i, 1 FROM generate_series(1, 1200) AS i`;
  await using mesh = await startMesh('a <-> b', schema, { before: { a: before(0), b: before(5_000) } });
  const [a, b] = mesh.nodes as [LiveNode, LiveNode];
  await mesh.connected();
  for (const node of mesh.nodes) {
    await eventually('all are parked', async () =>
      expect(await node.status()).toMatchObject({ parked: 1_200, parked_tables: { 'public.users': 1_200 } }),
    );
    const seen = new Set<string>();
    let cursor: string | null = null;
    do {
      const page: ParkedPage = await list(node, `?limit=500&table=users${cursor ? `&cursor=${cursor}` : ''}`);
      page.parked.forEach(({ key }) => seen.add(key.id!));
      ({ cursor } = page);
    } while (cursor !== null);
    expect(seen.size).toBe(1_200);
    const more = of(node, 'more_parked').reduce((sum, { count }) => sum + count, 0);
    expect(of(node, 'parked').length + more).toBeGreaterThanOrEqual(1_200);
    for (const { tables } of of(node, 'more_parked')) expect(tables).toEqual(['public.users']);
  }
  await eventuallyEqual(a, b);
});

describe('What somebody decides', () => {
  let mesh: LiveMesh;
  let a: LiveNode;
  let b: LiveNode;
  let c: LiveNode;
  beforeAll(async () => {
    mesh = await startMesh('a <-> b <-> c', schema);
    [a, b, c] = mesh.nodes as [LiveNode, LiveNode, LiveNode];
    await mesh.connected();
  });
  afterAll(() => mesh[Symbol.asyncDispose]());

  const rowOf = async (node: LiveNode, id: number) =>
    (await parkedOf(node, 4)).find(({ key }) => key.id === String(id))!;

  it('is refused clearly where it cannot be, and then changes nothing', async () => {
    await apart(mesh, async () => {
      await a.sql(`INSERT INTO users SELECT i, i, 1 FROM generate_series(1, 4) AS i`);
      await sleep(5);
      await b.sql(`INSERT INTO users SELECT i + 10, i, 1 FROM generate_series(1, 4) AS i`);
    });
    const row = await rowOf(a, 1);
    const refusals: [unknown, number, string][] = [
      [{ row: { y: '1' } }, 422, 'unknown_column'],
      [{ row: { id: '7' } }, 422, 'invalid_value'],
      [{ row: { age: 'many' } }, 422, 'invalid_value'],
      [{ row: { mail: '2' } }, 422, 'invalid_value'],
      [{ row: { mail: 'free', age: '0' } }, 422, 'invalid_value'],
      [{ row: { mail: '\0' } }, 422, 'invalid_value'],
      [{ row: { mail: '\ud800' } }, 422, 'invalid_value'],
      [{ row: {} }, 422, 'invalid_value'],
      [{ row: { age: 1 } }, 400, 'bad_request'],
      [{ row: null }, 400, 'bad_request'],
      [{}, 400, 'bad_request'],
    ];
    for (const [body, status, code] of refusals) {
      await expect(a.ask(`parked/${row.id}/change`, 'POST', body)).rejects.toThrow(
        new RegExp(`: ${status} .*"code":"${code}"`),
      );
    }
    await expect(a.ask('parked/999999/discard', 'POST', {})).rejects.toThrow(/: 404 /);
    await expect(a.ask('parked?cursor=x')).rejects.toThrow(/: 400 .*"code":"bad_cursor"/);
    expect(await a.ask(`parked/${row.id}`)).toEqual(row);
    expect(await a.status()).toMatchObject({ parked: 4 });
    expect(of(a, 'unparked')).toEqual([]);
  });

  it('is a write that travels: a change, a discard, and plain SQL to the key that is parked', async () => {
    const [first, second, third] = [await rowOf(a, 1), await rowOf(b, 2), await rowOf(c, 3)];
    expect(await a.ask(`parked/${first.id}/change`, 'POST', { row: { mail: 'other' } })).toEqual(first);
    expect(await b.ask(`parked/${second.id}/discard`, 'POST')).toEqual(second);
    await c.sql(`INSERT INTO users VALUES (3, 'by hand', 5)`);
    for (const node of mesh.nodes) {
      const [left] = await parkedOf(node, 1);
      expect(left).toMatchObject({ key: { id: '4' } });
      await eventually('all that ended is told of', () =>
        expect(of(node, 'unparked').map(({ key, stands }) => [key.id, stands])).toEqual(
          expect.arrayContaining([
            ['1', true],
            ['2', false],
            ['3', true],
          ]),
        ),
      );
      expect(of(node, 'unparked')).toHaveLength(3);
      expect(await node.sql('SELECT id, mail FROM users WHERE id < 10 ORDER BY id')).toEqual([
        { id: 1, mail: 'other' },
        { id: 3, mail: 'by hand' },
      ]);
    }
    await expect(a.ask(`parked/${first.id}/discard`, 'POST')).rejects.toThrow(/: 404 /);
    await expect(c.ask(`parked/${third.id}`)).rejects.toThrow(/: 404 /);
    await eventuallyEqual(...mesh.nodes);
  });

  it('what a function refused is tried again on request', async () => {
    await c.sql(`CREATE FUNCTION fits(int) RETURNS bool LANGUAGE sql AS 'SELECT $1 < 100';
      ALTER TABLE users ADD CONSTRAINT fitting CHECK (fits(age))`);
    await a.sql(`INSERT INTO users VALUES (20, 'old', 120)`);
    const refused = (await parkedOf(c, 2)).find(({ reason }) => reason === 'refused');
    expect(refused).toMatchObject({ key: { id: '20' }, constraint: 'fitting', waits_for: null });
    expect(await c.ask('parked/retry', 'POST')).toEqual({
      returned: [],
      returned_count: 0,
      parked: 2,
      parked_tables: { 'public.users': 2 },
    });
    await c.sql(`CREATE OR REPLACE FUNCTION fits(int) RETURNS bool LANGUAGE sql AS 'SELECT $1 < 200'`);
    // By this request, or by a look of the node's own that was under way.
    const answer = await c.ask<{ returned: object[]; returned_count: number }>('parked/retry', 'POST', {});
    expect(answer).toMatchObject({ parked: 1, parked_tables: { 'public.users': 1 } });
    const { id, table, key, reason, constraint, message } = refused!;
    const back = { id, table, key, reason, constraint, message };
    expect(answer.returned).toEqual(answer.returned_count === 1 ? [back] : []);
    expect(of(c, 'unparked').at(-1)).toMatchObject({ ...back, stands: true });
    expect(await c.sql('SELECT mail FROM users WHERE id = 20')).toEqual([{ mail: 'old' }]);
    await eventuallyEqual(...mesh.nodes);
  });
});
