import { eventually, eventuallyEqual, type LiveMesh, pause, startMesh } from '../support/mesh-node';

const schema = `CREATE TABLE products (id int PRIMARY KEY, name text, price numeric(10, 2));
  CREATE TABLE reviews (product int, author text, words text, PRIMARY KEY (product, author));`;

/** Waits until no rows have moved for a while. */
async function atRest(mesh: LiveMesh): Promise<void> {
  let [last, since] = [mesh.rowsReceived, Date.now()];
  await eventually('no more rows move', () => {
    if (mesh.rowsReceived !== last) [last, since] = [mesh.rowsReceived, Date.now()];
    return Date.now() - since > 1_000;
  });
}

const records = async (mesh: LiveMesh): Promise<number> =>
  (await Promise.all(mesh.nodes.map((node) => node.history()))).flat().length;

/**
 * `most`: rows received for each row and node that lacked it. In a ring the two nodes that are farthest from the writer hear of
 * it at the same time, and each tells the other: 6 for 4. In a mesh a node that writes while others' rows are on their way
 * may send these along.
 */
describe.each([
  { name: 'a ring of five', topology: 'a <-> b <-> c <-> d <-> e <-> a', most: 1.5 },
  { name: 'a line of four', topology: 'a <-> b <-> c <-> d', most: 1 },
  { name: 'a full mesh of three', topology: 'a <-> b <-> c <-> a', most: 1.75 },
])('trap 40: $name', ({ topology, most }) => {
  it('brings every write to every node, each row about once', async () => {
    // Pulls by the interval would fetch what is being pushed at that moment.
    await using mesh = await startMesh(topology, schema, { all: { syncInterval: 600_000 } });
    const { nodes } = mesh;
    const others = nodes.length - 1;
    await mesh.connected();

    // One at a time: each write finds the mesh at rest.
    for (const [i, node] of nodes.entries()) {
      await node.sql('INSERT INTO products VALUES ($1, $2, 1)', [i, `from ${node.id}`]);
      await eventuallyEqual(...nodes);
    }
    await atRest(mesh);
    const single = mesh.rowsReceived;
    expect(single / (nodes.length * others)).toBeLessThanOrEqual(most);

    // Many, from all sides at once.
    const insert = `INSERT INTO reviews SELECT n, $1, repeat('word ', 20) FROM generate_series(1, 500) AS n`;
    await Promise.all(nodes.map(({ sql, id }) => sql(insert, [id])));
    await eventuallyEqual(...nodes);
    await atRest(mesh);
    expect((mesh.rowsReceived - single) / (500 * nodes.length * others)).toBeLessThanOrEqual(most + 0.01);
    for (const { sql } of nodes) {
      expect(await sql('SELECT count(*)::int AS n FROM reviews')).toEqual([{ n: 500 * nodes.length }]);
    }
  });
});

it('trap 40: a ring at rest exchanges greetings and empty polls, and no row', async () => {
  await using mesh = await startMesh('a <-> b <-> c <-> d <-> e <-> a', schema, {
    all: { syncInterval: 400 },
    before: { a: `INSERT INTO products SELECT n, 'product ' || n, n FROM generate_series(1, 3000) AS n` },
  });
  await mesh.connected();
  await Promise.all(
    mesh.nodes.map(({ sql, id }, i) => sql('UPDATE products SET name = $1 WHERE id = $2', [id, i + 1])),
  );
  await eventuallyEqual(...mesh.nodes);
  await atRest(mesh);

  const before = { rows: mesh.rowsReceived, records: await records(mesh), bytes: mesh.bytes };
  await pause(4_000);
  const bytes = (mesh.bytes - before.bytes) / mesh.proxies.length;
  expect({ rows: mesh.rowsReceived, records: await records(mesh) }).toEqual({
    rows: before.rows,
    records: before.records,
  });
  // Some ten greetings and as many polls over each link, of 2 or 3 kB with their answers; the table alone has 150 kB.
  expect(bytes).toBeGreaterThan(0);
  expect(bytes).toBeLessThan(90_000);
});
