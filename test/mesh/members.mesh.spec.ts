import type { MemberView } from '@pgmesh/nest';
import { eventually, eventuallyEqual, type LiveMesh, type LiveNode, pause, startMesh } from '../support/mesh-node';

const schema = `CREATE TABLE products (id int PRIMARY KEY, name text, price numeric(10, 2));
  CREATE TABLE reviews (product int, author text, words text, PRIMARY KEY (product, author));`;
const all = { syncInterval: 250 };

const members = (node: LiveNode): Promise<MemberView[]> => node.ask('members');

async function member(node: LiveNode, id: string): Promise<MemberView> {
  const found = (await members(node)).find(({ node_id }) => node_id === id);
  if (!found) throw new Error(`${node.id} knows no member ${id}`);
  return found;
}

const states = async (node: LiveNode): Promise<Record<string, string>> =>
  Object.fromEntries((await members(node)).map(({ node_id, state }) => [node_id, state]));

const eventsOf = (node: LiveNode, type: string): unknown[] => node.events.filter((event) => event.type === type);

/** Waits until every node has come to where the others were when they wrote last, and all know it. */
async function settled({ nodes }: Pick<LiveMesh, 'nodes'>): Promise<void> {
  await eventually('all have claimed all, and all have heard of it', async () => {
    for (const node of nodes) {
      for (const { node_id, lag, claim } of await members(node)) {
        if (node_id === node.id) continue;
        expect({ of: node.id, node_id, claim: claim !== null, lag }).toEqual({
          of: node.id,
          node_id,
          claim: true,
          lag: { rows: 0, more: false, since: null },
        });
      }
    }
  });
}

/** The numbers of all claims, as each node has them. */
const claimsOf = async ({ nodes }: LiveMesh): Promise<unknown> =>
  Promise.all(nodes.map(async (node) => (await members(node)).map(({ node_id, claim }) => [node_id, claim])));

describe('A line of three', () => {
  it('knows all its members at every node, how far each has come, and for whom deletions wait', async () => {
    await using mesh = await startMesh('a <-> b <-> c', schema, { all });
    const [a, b, c] = mesh.nodes as [LiveNode, LiveNode, LiveNode];
    await mesh.connected();
    await a.sql(`INSERT INTO products SELECT n, 'product', n FROM generate_series(1, 20) AS n`);
    await eventuallyEqual(a, b, c);
    await settled(mesh);
    expect(await states(a)).toEqual({ a: 'self', b: 'linked', c: 'known' });
    expect(await states(c)).toEqual({ a: 'known', b: 'linked', c: 'self' });
    expect((await a.ask<{ members: unknown }>('status')).members).toEqual({ linked: 1, known: 1, evicted: 0 });
    expect((await member(a, 'c')).tables).toEqual(['public.products', 'public.reviews']);
    expect(eventsOf(a, 'member_joined')).toHaveLength(2);

    // While one is away, what it lacks is told, and that a deletion waits for it.
    await c.stop();
    await a.sql(`INSERT INTO products SELECT n, 'later', n FROM generate_series(21, 25) AS n`);
    await a.sql(`DELETE FROM products WHERE id = 1`);
    await eventually('a tells what c lacks', async () => {
      expect((await member(a, 'c')).lag).toMatchObject({ rows: 6, more: false, since: expect.any(String) });
      expect((await member(a, 'c')).holds_up_since).not.toBeNull();
      expect((await member(a, 'b')).holds_up_since).toBeNull();
    });

    // The register is in the database.
    const known = await members(a);
    await a.stop();
    await a.start();
    const again = await members(a);
    expect(again.map(({ node_id, first_seen, lag }) => ({ node_id, first_seen, lag }))).toEqual(
      known.map(({ node_id, first_seen, lag }) => ({ node_id, first_seen, lag })),
    );
    await c.start();
    await eventuallyEqual(a, b, c);
    await settled(mesh);
    expect((await member(a, 'c')).holds_up_since).toBeNull();
  });

  it('starts with the stream where a link is made to a node that was never read: no copy, no row', async () => {
    await using mesh = await startMesh('a <-> b <-> c', schema, { all });
    const [a, b, c] = mesh.nodes as [LiveNode, LiveNode, LiveNode];
    await mesh.connected();
    await a.sql(`INSERT INTO products SELECT n, 'of a', n FROM generate_series(1, 500) AS n`);
    await c.sql(`INSERT INTO reviews SELECT n, 'c', 'of c' FROM generate_series(1, 500) AS n`);
    await eventuallyEqual(a, b, c);
    await settled(mesh);
    const before = [a.rowsReceived, c.rowsReceived];
    const copies = (): unknown[] => [a, c].flatMap((node) => eventsOf(node, 'copy_progress'));
    const copied = copies().length;
    await c.dial(a.url);
    await a.dial(c.url);
    await eventually('they are linked', async () => {
      expect([(await a.link('c')).state, (await c.link('a')).state]).toEqual(['live', 'live']);
      expect((await a.link('c')).position).not.toBeNull();
    });
    await pause(1_000);
    expect([a.rowsReceived, c.rowsReceived]).toEqual(before);
    expect(copies()).toHaveLength(copied);
    // And goes on from there.
    await b.stop();
    await a.sql(`UPDATE products SET name = 'again' WHERE id <= 3`);
    await c.sql(`DELETE FROM reviews WHERE product <= 3`);
    await eventuallyEqual(a, c);
    // A pull at an interval may fetch what is being pushed.
    for (const [i, { rowsReceived }] of [a, c].entries()) expect(rowsReceived - before[i]!).toBeLessThanOrEqual(6);
  });

  it('falls silent: at rest no claim is made, and greetings tell of nothing', async () => {
    await using mesh = await startMesh('a <-> b <-> c', schema, { all });
    const [a, b, c] = mesh.nodes as [LiveNode, LiveNode, LiveNode];
    await mesh.connected();
    await Promise.all(
      mesh.nodes.map(({ sql, id }, i) => sql('INSERT INTO products VALUES ($1, $2, 1)', [i, `from ${id}`])),
    );
    await eventuallyEqual(a, b, c);
    await settled(mesh);
    let last: unknown = null;
    await eventually('no more claims are made', async () => {
      const now = await claimsOf(mesh);
      await pause(1_500);
      const isSame = JSON.stringify(now) === JSON.stringify(last);
      last = now;
      expect(isSame).toBe(true);
    });
    await pause(3_000);
    expect(await claimsOf(mesh)).toEqual(last);
  });
});

describe('A member that is gone', () => {
  it('is evicted by hand, at all nodes, and is a member again when it is heard of', async () => {
    await using mesh = await startMesh('a <-> b <-> c', schema, { all });
    const [a, b, c] = mesh.nodes as [LiveNode, LiveNode, LiveNode];
    await mesh.connected();
    await settled(mesh);
    const evict = (node: LiveNode, id: string) =>
      node.ask(`members/${id}/evict`, 'POST', {}).catch((error: Error) => error.message);
    expect(await evict(a, 'nobody')).toMatch(/404.*not_found/);
    expect(await evict(a, 'a')).toMatch(/409.*member_present/);
    expect(await evict(a, 'b')).toMatch(/409.*member_present.*Stop it first/);

    await c.stop();
    await a.sql('INSERT INTO products VALUES (1, 1, 1)');
    await a.sql('DELETE FROM products');
    expect(await evict(a, 'c')).toMatchObject({
      node_id: 'c',
      state: 'evicted',
      evicted_by: 'a',
      holds_up_since: null,
    });
    expect(await evict(a, 'c')).toMatchObject({ state: 'evicted' });
    await eventually('b has heard of it', async () => {
      expect(await member(b, 'c')).toMatchObject({ state: 'evicted', evicted_by: 'a' });
      expect(eventsOf(b, 'member_evicted')).toMatchObject([{ member: 'c', by: 'a' }]);
    });
    expect((await a.ask<{ members: unknown }>('status')).members).toEqual({ linked: 1, known: 0, evicted: 1 });

    await c.start();
    await eventually('it is a member again', async () => {
      for (const node of [a, b]) {
        expect(eventsOf(node, 'member_returned')).toMatchObject([{ member: 'c' }]);
        expect((await member(node, 'c')).evicted_by).toBeNull();
      }
    });
    await eventuallyEqual(a, b, c);
  });

  it('is there all the same when it hears of it: who is evicted while others see it stands up', async () => {
    await using mesh = await startMesh('a <-> b <-> c', schema, { all });
    const [a, , c] = mesh.nodes as [LiveNode, LiveNode, LiveNode];
    await mesh.connected();
    await settled(mesh);
    await a.ask('members/c/evict', 'POST', {});
    await eventually('c says that it is there', async () => {
      expect(eventsOf(a, 'member_returned')).toMatchObject([{ member: 'c' }]);
      expect((await states(a)).c).toBe('known');
      expect((await states(c)).a).toBe('known');
    });
  });

  it('is evicted by itself after so long a silence, which is told; those that are there are not', async () => {
    await using mesh = await startMesh('a <-> b <-> c', schema, { all: { ...all, memberCap: 3_000 } });
    const [a, b, c] = mesh.nodes as [LiveNode, LiveNode, LiveNode];
    await mesh.connected();
    await settled(mesh);
    await pause(5_000);
    for (const node of mesh.nodes) expect(eventsOf(node, 'member_evicted')).toEqual([]);
    await c.stop();
    await eventually('nobody waits for it', async () => {
      for (const node of [a, b]) expect((await member(node, 'c')).state).toBe('evicted');
    });
    expect((await member(a, 'b')).state).toBe('linked');
    expect(eventsOf(a, 'member_evicted')).toMatchObject([{ member: 'c', last_seen: expect.any(String) }]);
  });
});
