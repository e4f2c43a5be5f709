/** Tables of which nodes have different shapes, on real nodes over HTTP: what pauses, what goes on, and how it ends (trap 37). */
import { eventually, eventuallyEqual, LiveNode, startMesh } from '../support/mesh-node';

const schema = `CREATE TABLE items (id int PRIMARY KEY, name text, n int DEFAULT 0);
  CREATE TABLE other (id int PRIMARY KEY, note text);`;

const pausedAt = async (node: LiveNode, peer: string) => (await node.link(peer)).paused_tables;

/** Waits until the node names the table, for that peer and direction; and what it says. */
async function paused(node: LiveNode, peer: string, direction: 'pull' | 'push', reason?: string) {
  let found: Awaited<ReturnType<typeof pausedAt>>[number] | undefined;
  await eventually(`${node.id} has paused items with ${peer}`, async () => {
    found = (await pausedAt(node, peer)).find((one) => one.direction === direction);
    expect(found).toMatchObject({ table: 'public.items', direction });
    if (reason !== undefined) expect(found!.reason).toBe(reason);
  });
  return found!;
}

async function nothingPaused(...nodes: LiveNode[]): Promise<void> {
  await eventually('nothing is paused any more, and every link is live', async () => {
    const links = (await Promise.all(nodes.map((node) => node.status()))).flatMap(({ peers }) => peers);
    expect(links.map(({ paused_tables: tables, state }) => ({ tables, state }))).toEqual(
      links.map(() => ({ tables: [], state: 'live' })),
    );
  });
}

/** Writes to the other table on each of them, and waits until all have it. */
async function othersFlow(...nodes: LiveNode[]): Promise<void> {
  const note = `note ${Math.random()}`;
  for (const [i, node] of nodes.entries())
    await node.sql('INSERT INTO other VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET note = $2', [i, note]);
  await eventually('the other table goes on', async () => {
    for (const node of nodes)
      expect(await node.sql('SELECT id FROM other WHERE note = $1', [note])).toHaveLength(nodes.length);
  });
}

it('trap 37: a column on one node only pauses that table with that peer, says what to run, and resumes by itself', async () => {
  await using mesh = await startMesh('a <-> b', schema);
  const [a, b] = mesh.nodes as [LiveNode, LiveNode];
  await mesh.connected();
  await a.sql(`INSERT INTO items SELECT i, 'x' FROM generate_series(1, 50) AS i`);
  await eventuallyEqual(a, b);

  await a.sql(`ALTER TABLE items ADD colour text DEFAULT 'none'`);
  await a.sql(`UPDATE items SET colour = 'red' WHERE id <= 25`);
  const pull = await paused(b, 'a', 'pull');
  const push = await paused(a, 'b', 'push');
  expect(pull).toEqual({
    table: 'public.items',
    direction: 'pull',
    columns: ['colour'],
    reason: 'b lacks the column colour (text) that a has.',
    remedy: `On b: ALTER TABLE public.items ADD COLUMN colour text DEFAULT 'none'::text;`,
  });
  expect(push).toEqual({ ...pull, direction: 'push' });

  await othersFlow(a, b);
  await a.sql(`INSERT INTO items VALUES (100, 'new', 1, 'blue'); DELETE FROM items WHERE id = 50`);
  // What b writes still goes to a, whose additional column takes its default.
  await b.sql(`INSERT INTO items VALUES (200, 'of b')`);
  await eventually('a has the row of b', async () => {
    expect(await a.sql('SELECT name, colour FROM items WHERE id = 200')).toEqual([{ name: 'of b', colour: 'none' }]);
  });
  expect(await b.sql('SELECT id FROM items WHERE id IN (50, 100)')).toEqual([{ id: 50 }]);
  for (const node of [a, b]) expect((await node.status()).peers).toMatchObject([{ state: 'live' }]);

  await b.sql(pull.remedy.replace(/^On b: /, ''));
  await nothingPaused(a, b);
  await eventuallyEqual(a, b);
  expect(await b.sql(`SELECT count(*)::int AS n FROM items WHERE colour = 'red'`)).toEqual([{ n: 25 }]);
  for (const [node, peer] of [
    [a, 'b'],
    [b, 'a'],
  ] as const) {
    await eventually('both are told', () =>
      expect(node.events.filter(({ type }) => type === 'table_paused' || type === 'table_resumed')).toMatchObject([
        { type: 'table_paused', peer, table: 'public.items', reason: pull.reason, remedy: pull.remedy },
        { type: 'table_resumed', peer, table: 'public.items' },
      ]),
    );
  }
});

it('trap 37: dropped, renamed and retyped columns are told apart, and end equal', async () => {
  await using mesh = await startMesh('a <-> b', schema);
  const [a, b] = mesh.nodes as [LiveNode, LiveNode];
  await mesh.connected();
  await a.sql(`INSERT INTO items SELECT i, 'x', i FROM generate_series(1, 20) AS i`);
  await eventuallyEqual(a, b);
  for (const [change, write, reason, remedy] of [
    [
      'RENAME name TO title',
      `UPDATE items SET title = 'renamed' WHERE id < 5`,
      'b lacks the column title (text) that a has, and has name instead: renamed?',
      'On b: ALTER TABLE public.items RENAME COLUMN name TO title;',
    ],
    [
      'ALTER n TYPE numeric',
      `UPDATE items SET n = 1.50 WHERE id = 7`,
      'The column n is integer on b and numeric on a: not every value would arrive as it is.',
      'On b: ALTER TABLE public.items ALTER COLUMN n TYPE numeric;',
    ],
  ] as const) {
    await a.sql(`ALTER TABLE items ${change}`);
    await a.sql(write);
    expect((await paused(b, 'a', 'pull', reason)).remedy).toBe(remedy);
    await othersFlow(a, b);
    await b.sql(remedy.replace(/^On b: /, ''));
    await nothingPaused(a, b);
    await eventuallyEqual(a, b);
  }
  await b.sql('ALTER TABLE items DROP n');
  await a.sql('UPDATE items SET n = 99 WHERE id = 3');
  const dropped = await paused(b, 'a', 'pull', 'b lacks the column n (numeric) that a has: it was dropped on b.');
  expect(dropped.remedy).toMatch(/Or, to drop it everywhere, on a: ALTER TABLE public.items DROP COLUMN n;$/);
  await othersFlow(a, b);
  await a.sql('ALTER TABLE items DROP n');
  await nothingPaused(a, b);
  await eventuallyEqual(a, b);
});

it('trap 37: an additional column of the receiver that is nullable or has a default pauses nothing there', async () => {
  await using mesh = await startMesh('a <-> b', schema);
  const [a, b] = mesh.nodes as [LiveNode, LiveNode];
  await mesh.connected();
  await b.sql(`ALTER TABLE items ADD mine text, ADD more int NOT NULL DEFAULT 7`);
  await paused(a, 'b', 'pull');
  await a.sql(`INSERT INTO items VALUES (1, 'x')`);
  await eventually('b has the row', async () => {
    expect(await b.sql('SELECT name, mine, more FROM items')).toEqual([{ name: 'x', mine: null, more: 7 }]);
  });
  expect((await pausedAt(b, 'a')).map(({ direction }) => direction)).toEqual(['push']);

  // One that must be given is another thing: b could not insert.
  await b.sql(`ALTER TABLE items ALTER more DROP DEFAULT`);
  const { reason, remedy } = await paused(b, 'a', 'pull');
  await a.sql(`INSERT INTO items VALUES (2, 'y')`);
  expect(reason).toBe('b needs a value for the column more (NOT NULL without a default), and a lacks it.');
  expect(remedy).toContain('ALTER TABLE public.items ADD COLUMN more integer;');
  await b.sql(`ALTER TABLE items ALTER more SET DEFAULT 8`);
  await eventually('b has the other row', async () => {
    expect(await b.sql('SELECT more FROM items WHERE id = 2')).toEqual([{ more: 8 }]);
  });
});

it('trap 37: rows that both nodes write while one of them lacks a column end equal', async () => {
  await using mesh = await startMesh('a <-> b', schema);
  const [a, b] = mesh.nodes as [LiveNode, LiveNode];
  await mesh.connected();
  await a.sql(`INSERT INTO items SELECT i, 'x' FROM generate_series(1, 20) AS i`);
  await eventuallyEqual(a, b);
  await a.sql(`ALTER TABLE items ADD colour text DEFAULT 'none'`);
  await a.sql(`UPDATE items SET colour = 'blue' WHERE id <= 10`);
  await paused(b, 'a', 'pull');
  await b.sql(`UPDATE items SET name = 'of b' WHERE id % 2 = 0; DELETE FROM items WHERE id = 5`);
  await eventually('a has the writes of b', async () => {
    expect(await a.sql(`SELECT id FROM items WHERE name = 'of b'`)).toHaveLength(10);
  });
  await b.sql(`ALTER TABLE items ADD colour text DEFAULT 'none'`);
  await nothingPaused(a, b);
  await eventuallyEqual(a, b);
});

it('trap 37: three nodes, of which the middle one lags behind with its migration', async () => {
  await using mesh = await startMesh('a <-> b <-> c', schema);
  const [a, b, c] = mesh.nodes as [LiveNode, LiveNode, LiveNode];
  await mesh.connected();
  await a.sql(`INSERT INTO items SELECT i, 'x' FROM generate_series(1, 30) AS i`);
  await eventuallyEqual(a, b, c);
  for (const node of [a, c]) await node.sql('ALTER TABLE items ADD colour text');
  await a.sql(`UPDATE items SET colour = 'of a' WHERE id <= 10`);
  await c.sql(`UPDATE items SET colour = 'of c' WHERE id > 20; INSERT INTO items VALUES (40, 'new', 4, 'of c')`);
  await paused(b, 'a', 'pull');
  await paused(b, 'c', 'pull');
  await b.sql(`UPDATE items SET name = 'of b' WHERE id BETWEEN 12 AND 18; DELETE FROM items WHERE id = 19`);
  await othersFlow(a, b, c);
  await b.sql('ALTER TABLE items ADD colour text');
  await nothingPaused(a, b, c);
  await eventuallyEqual(a, b, c);
  expect(await a.sql(`SELECT colour, count(*)::int AS n FROM items GROUP BY colour ORDER BY colour`)).toEqual([
    { colour: 'of a', n: 10 },
    { colour: 'of c', n: 11 },
    { colour: null, n: 9 },
  ]);
});

it('trap 37: a table is altered on one node after the other while all write, and nothing is lost', async () => {
  await using mesh = await startMesh('a <-> b, b <-> c', schema);
  await mesh.connected();
  const nodes = mesh.nodes;
  let altering = true;
  const written = new Set<number>();
  const writing = nodes.map(async (node, k) => {
    for (let i = 0; altering; i++) {
      written.add(k * 1000 + (i % 40));
      await node.sql(`INSERT INTO items (id, name) VALUES ($1, 'x') ON CONFLICT (id) DO UPDATE SET n = items.n + 1`, [
        k * 1000 + (i % 40),
      ]);
      await node.sql('INSERT INTO other VALUES ($1) ON CONFLICT DO NOTHING', [k * 1000 + i]);
    }
  });
  for (const change of ['ADD colour text', 'ALTER n TYPE bigint', 'RENAME colour TO shade', 'DROP shade']) {
    for (const node of nodes) await node.sql(`ALTER TABLE items ${change}`);
  }
  altering = false;
  await Promise.all(writing);
  await nothingPaused(...nodes);
  await eventuallyEqual(...nodes);
  expect(await nodes[0]!.sql('SELECT count(*)::int AS n FROM items')).toEqual([{ n: written.size }]);
});

it('trap 37: a table that is added to a running mesh is copied with what was there', async () => {
  await using mesh = await startMesh('a <-> b', schema, { all: { tables: ['items'] } });
  const [a, b] = mesh.nodes as [LiveNode, LiveNode];
  await mesh.connected();
  await a.sql(`INSERT INTO other SELECT i, 'old' FROM generate_series(1, 40) AS i`);
  await a.sql(`INSERT INTO items VALUES (1, 'x')`);
  await eventuallyEqual(a, b);
  for (const node of [a, b]) {
    await node.stop();
    await node.start({ tables: ['items', 'other'] });
    await a.sql(`INSERT INTO items VALUES ((SELECT max(id) + 1 FROM items), 'meanwhile')`);
  }
  await b.sql(`INSERT INTO other VALUES (100, 'of b')`);
  await eventuallyEqual(a, b);
  expect(await b.sql('SELECT count(*)::int AS n FROM other')).toEqual([{ n: 41 }]);
});

it('trap 39: a row that the receiver cannot read is parked by itself, and stands once it can', async () => {
  const moods = `${schema} CREATE TYPE mood AS ENUM ('sad', 'glad'); ALTER TABLE items ADD mood mood;`;
  await using mesh = await startMesh('a <-> b', moods);
  const [a, b] = mesh.nodes as [LiveNode, LiveNode];
  await mesh.connected();
  await a.sql(`INSERT INTO items SELECT i, 'x', i, 'glad' FROM generate_series(1, 50) AS i`);
  await eventuallyEqual(a, b);
  await a.sql(`ALTER TYPE mood ADD VALUE 'calm'`);
  await a.sql(`UPDATE items SET mood = 'calm' WHERE id = 7`);
  const isParked = (n: number) =>
    eventually(`${n} rows are parked`, async () =>
      expect(await b.sql('SELECT count(*)::int AS n FROM p2p.parked')).toEqual([{ n }]),
    );
  await isParked(1);
  // A large window is staged as COPY, and asked for once more.
  await a.sql(
    `INSERT INTO items SELECT i, 'x', i, CASE WHEN i % 500 = 0 THEN 'calm' ELSE 'sad' END::mood FROM generate_series(1001, 3000) AS i`,
  );
  await isParked(5);
  await othersFlow(a, b);
  await nothingPaused(a, b);
  expect((await b.status()).peers).toMatchObject([{ state: 'live' }]);
  expect(await b.sql(`SELECT count(*)::int AS n FROM items`)).toEqual([{ n: 2045 }]);
  await b.sql(`ALTER TYPE mood ADD VALUE 'calm'`);
  await eventuallyEqual(a, b);
  await isParked(0);
});
