import { eventually, eventuallyEqual, startMesh } from '../support/mesh-node';

const schema = 'CREATE TABLE notes (id int PRIMARY KEY, body text)';
const all = { collect: 300, syncInterval: 1_000 };

const bodies = (node: { sql: (text: string) => Promise<object[]> }) =>
  node.sql('SELECT id, body FROM notes ORDER BY id') as Promise<{ id: number; body: string }[]>;

interface Told {
  readonly tombstones: readonly { readonly kept: number; readonly held_up_by: readonly string[] }[];
}

it('forgets deletions in a ring of three by itself, tells of it, and says who holds it up', async () => {
  await using mesh = await startMesh('a <-> b <-> c <-> a', schema, { all });
  const [a, b, c] = mesh.nodes as [(typeof mesh.nodes)[0], (typeof mesh.nodes)[0], (typeof mesh.nodes)[0]];
  await a.sql(`INSERT INTO notes SELECT i, 'row' FROM generate_series(1, 20) AS i`);
  await mesh.connected();
  await eventuallyEqual(a, b, c);
  await c.stop();
  await a.sql('DELETE FROM notes WHERE id <= 10');
  await eventually('a says that c holds it up', async () => {
    const { tombstones } = await a.ask<Told>('status');
    expect(tombstones).toMatchObject([{ kept: 10, held_up_by: ['c'] }]);
  });
  await c.start();
  await eventually('all have forgotten', async () => {
    for (const node of mesh.nodes) expect((await node.ask<Told>('status')).tombstones[0]!.kept).toBe(0);
  });
  await a.tells({ type: 'collected', table: 'public.notes' });
  await eventuallyEqual(a, b, c);
  expect(await bodies(c)).toHaveLength(10);
});

it.each(['c -> a', 'a -> c'])(
  'trap 17, 42: who was evicted returns over a link "%s" with what it wrote, and without what was forgotten',
  async (link) => {
    await using mesh = await startMesh(`a <-> b, ${link}`, schema, { all });
    const [a, b, c] = ['a', 'b', 'c'].map((id) => mesh.node(id)) as [
      (typeof mesh.nodes)[0],
      (typeof mesh.nodes)[0],
      (typeof mesh.nodes)[0],
    ];
    await a.sql(`INSERT INTO notes SELECT i, 'row' FROM generate_series(1, 20) AS i`);
    await mesh.connected();
    await eventuallyEqual(a, b, c);
    await c.stop();
    await c.sql(`INSERT INTO notes VALUES (100, 'mine'); UPDATE notes SET body = 'changed' WHERE id IN (2, 12)`);
    await a.sql('DELETE FROM notes WHERE id <= 10');
    await eventually('c is evicted', () => a.ask('members/c/evict', 'POST').then(() => true));
    await eventually('a and b have forgotten', async () => {
      for (const node of [a, b]) expect((await node.ask<Told>('status')).tombstones[0]!.kept).toBe(0);
    });
    await c.start();
    await eventuallyEqual(a, b, c);
    await eventually('its writes are everywhere', async () => {
      for (const node of [a, b, c]) {
        const rows = await bodies(node);
        expect(rows.map(({ id }) => id)).toEqual([2, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 100]);
        expect(rows.filter(({ body }) => body === 'changed').map(({ id }) => id)).toEqual([2, 12]);
      }
    });
    await eventuallyEqual(a, b, c);
  },
);

it.each(['a -> b', 'b -> a'])('returns over a link "%s" where another of its tables has no news', async (link) => {
  await using mesh = await startMesh(link, `${schema}; CREATE TABLE quiet (id int PRIMARY KEY)`, { all });
  const [a, b] = [mesh.node('a'), mesh.node('b')];
  await a.sql(`INSERT INTO notes SELECT i, 'row' FROM generate_series(1, 20) AS i; INSERT INTO quiet VALUES (1)`);
  await mesh.connected();
  await eventuallyEqual(a, b);
  await b.stop();
  await a.sql('DELETE FROM notes WHERE id <= 10');
  await eventually('b is evicted', () => a.ask('members/b/evict', 'POST').then(() => true));
  await eventually('a has forgotten', async () => {
    for (const { kept } of (await a.ask<Told>('status')).tombstones) expect(kept).toBe(0);
  });
  await b.start();
  await eventuallyEqual(a, b);
  // It has what it lacked, and is brought nothing more: not the same table over and over.
  await eventually('all is at rest', async () => {
    const before = (await b.history()).length;
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(await b.history()).toHaveLength(before);
  });
  await eventuallyEqual(a, b);
});
