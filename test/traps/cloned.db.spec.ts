import { nextRequest, parseMaxVersions, parseRules } from '@pgmesh/core';
import { renameWriter } from '@pgmesh/store';
import type { Frame } from '@pgmesh/wire';
import { copyDatabase, createDatabase, type TestDatabase } from '../support/database';
import { eventually, LiveNode } from '../support/mesh-node';
import { expectEqual, opened, openStore, pull, settle, type StoreNode, storeNode } from '../support/store-node';

const schema = `CREATE TABLE items (id int PRIMARY KEY, name text, price numeric, tags text[], doc json);`;
const names = (node: Pick<StoreNode, 'sql'>) =>
  node.sql<{ id: number; name: string }>('SELECT id, name FROM items ORDER BY id');

/** A node's database with three rows, and a copy of it, made while the node was stopped. */
async function cloned(): Promise<{ original: TestDatabase; copy: TestDatabase }> {
  const original = await createDatabase();
  await original.sql(schema);
  const store = await openStore(original, 'a');
  await original.sql(`INSERT INTO items SELECT i, 'before' FROM generate_series(1, 3) AS i`);
  await store.close();
  return { original, copy: await copyDatabase(original) };
}

/** Both nodes' clocks show one instant, so that they give one name. */
async function stopClocks(...databases: TestDatabase[]): Promise<void> {
  const now = Date.now() * 1000;
  for (const { sql } of databases.map((db) => ({ sql: db.sql.bind(db) }))) {
    await sql(`CREATE OR REPLACE FUNCTION p2p.clock() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT ${now}::int8'`);
  }
}

/** Transaction ids are used up, so that the copy's feed is ahead of where the original's was read. */
async function busy(db: TestDatabase): Promise<void> {
  for (let i = 0; i < 30; i++) await db.sql('SELECT pg_current_xact_id()');
}

/** What one database has of its feed from where a reader stands in the other's. */
const pulled = (from: StoreNode, to: StoreNode) => pull(from, to).catch((error: unknown) => error);

/** As from a sender that does not tell of what types its values are: then they are rounded, instead of refused. */
async function* untyped(frames: AsyncIterable<Frame>): AsyncGenerator<Frame> {
  for await (const frame of frames) yield 'types' in frame ? { ...frame, types: undefined } : frame;
}

describe('trap 09: a disk is copied, and both nodes start', () => {
  it('the same version with other content is refused with 409, and nothing of its window is applied', async () => {
    const { original, copy } = await cloned();
    await using _databases = dispose(original, copy);
    await using a = await opened(original, 'a');
    await using clone = await opened(copy, 'a');
    await using c = await storeNode('c', schema);
    await pull(a, c);
    await stopClocks(original, copy);
    await a.sql(`UPDATE items SET name = 'of the original' WHERE id = 1`);
    await pull(a, c);
    await busy(copy);
    await clone.sql(`UPDATE items SET name = 'of the copy' WHERE id = 1`);
    await clone.sql(`UPDATE items SET name = 'of the copy' WHERE id = 2`);
    const before = await names(c);
    expect(await pulled(clone, c)).toMatchObject({
      code: 'cloned_node',
      status: 409,
      message: expect.stringMatching(/a version of a row of public\.items.* new-incarnation/),
    });
    expect(await names(c)).toEqual(before);
    // A deletion of that name is another content too.
    await clone.sql(`UPDATE items SET name = 'of the original' WHERE id = 1`);
    expect(await pull(a, c)).toBe(0);
  });

  it('a version that comes again is not taken for another: values are compared as the column holds them', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await settle(a, b);
    await b.sql('ALTER TABLE items ALTER price TYPE numeric(8, 2)');
    await b.store.keepUp();
    await a.sql(
      `INSERT INTO items VALUES (1, 'rounded', 1.005, array_remove(ARRAY['x', NULL], NULL), '{"a":  1}'), (2, NULL, NULL, NULL, NULL)`,
    );
    const { epoch, nodeId } = a.store.identity;
    const request = nextRequest(await b.store.inbox.position(nodeId), epoch, a.store.tables(), 'copy')!;
    for (let i = 0; i < 2; i++) {
      const window = await a.store.feed.open(request, { except: () => [], limit: 100 });
      const applied = await b.store.inbox.apply(untyped(window.frames()));
      expect(applied).toMatchObject({ outcome: 'applied', rows: 2, changed: i === 0 ? 2 : 0 });
    }
    expect(await b.sql('SELECT price FROM items WHERE id = 1')).toEqual([{ price: '1.01' }]);
  });

  it.each([
    ['a column with a default of its own on each node', `ALTER TABLE items ADD added timestamptz DEFAULT now()`],
    ['values that are drawn for each row', `ALTER TABLE items ADD drawn uuid DEFAULT gen_random_uuid()`],
    ['a column of another type', `ALTER TABLE items ALTER price TYPE bigint USING (price * 100)::bigint`],
    [
      'a write past the triggers',
      `ALTER TABLE items DISABLE TRIGGER ALL; UPDATE items SET name = 'past'; ALTER TABLE items ENABLE TRIGGER ALL`,
    ],
  ])('rows that were changed under their old names are not taken for a copy: %s', async (_, change) => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await settle(a, b);
    const { epoch, nodeId } = a.store.identity;
    const request = nextRequest(await b.store.inbox.position(nodeId), epoch, a.store.tables(), 'copy')!;
    await a.sql(`INSERT INTO items VALUES (1, 'one', 1.5)`);
    await pull(a, b);
    for (const node of [a, b]) {
      if (node === b || !change.includes('TRIGGER')) await node.sql(change);
      await node.store.keepUp();
    }
    const window = await a.store.feed.open(request, { except: () => [], limit: 100 });
    expect(await b.store.inbox.apply(window.frames())).toMatchObject({ outcome: 'applied', rows: 1, changed: 0 });
  });

  it('a cursor that lies ahead of the feed says that the database was set back or is a copy', async () => {
    const { original, copy } = await cloned();
    await using _databases = dispose(original, copy);
    await using clone = await opened(copy, 'a');
    const request = { kind: 'window', tables: ['public.items'], from: { xmax: 2n ** 62n, xip: [] } } as const;
    const refused = await clone.store.feed
      .open(request, { except: () => [], limit: 10 })
      .catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: 'cloned_node',
      message: expect.stringContaining('was set back, or is a copy'),
    });
  });

  it.each([
    ['in its place', undefined],
    ['as a node of its own', 'a2'],
  ])('a copy that was given another name goes on %s, and loses nothing of either', async (_, nodeId) => {
    const { original, copy } = await cloned();
    await using _databases = dispose(original, copy);
    const since = new Date();
    await using c = await storeNode('c', schema);
    const written = async (db: TestDatabase, by: string) => {
      await using node = await opened(db, 'a');
      await node.sql(`UPDATE items SET name = $1 WHERE id = 1`, [by]);
      await node.sql(`INSERT INTO items VALUES ($1, $2)`, [by === 'original' ? 10 : 11, by]);
      await node.sql(
        by === 'original' ? `DELETE FROM items WHERE id = 2` : `UPDATE items SET name = 'kept' WHERE id = 2`,
      );
    };
    await written(original, 'original');
    await written(copy, 'copy');

    const running = await openStore(copy, 'a');
    await expect(renameWriter({ url: copy.url, since })).rejects.toThrow(
      /The node of this database runs .* Stop it first/,
    );
    await running.close();
    const renamed = await renameWriter({ url: copy.url, since, ...(nodeId ? { nodeId } : {}) });
    expect(renamed).toMatchObject({ before: expect.stringMatching(/^a~/), versions: 3 });
    expect(renamed.after).not.toBe(renamed.before);
    // While the node is still stopped, users' writes bear the new name.
    await copy.sql(`UPDATE items SET name = 'kept, and written again' WHERE id = 2`);

    await using a = await opened(original, 'a');
    await using other = await opened(copy, nodeId ?? 'a');
    for (const node of [a, other, a, other]) await pull(node, c);
    if (nodeId) {
      await settle(a, other, c);
      await expectEqual(a, c);
      await expectEqual(other, c);
    }
    const versions = await c.sql<{ id: number; names: string[] }>(
      `SELECT key1 AS id, ARRAY(SELECT coalesce(name, 'deleted') FROM (SELECT d.name UNION ALL
         SELECT s -> 'image' ->> 'name' FROM jsonb_array_elements(m.siblings) AS s) AS x ORDER BY 1) AS names
       FROM ${c.store.find('items')!.meta} AS m LEFT JOIN items AS d ON d.id = m.key1 ORDER BY 1`,
    );
    expect(versions).toEqual([
      { id: 1, names: ['copy', 'original'] },
      { id: 2, names: ['deleted', 'kept, and written again'] },
      { id: 3, names: ['before'] },
      { id: 10, names: ['original'] },
      { id: 11, names: ['copy'] },
    ]);
  });

  it('a copy that was given another name takes its field stamps and its history along', async () => {
    const outcome = parseRules('merge-fields');
    const kept = parseMaxVersions('5');
    if (!outcome.ok || !kept.ok) throw new Error('The settings cannot be read');
    const options = { rules: outcome.rules, maxVersions: kept.maxVersions };
    await using original = await createDatabase();
    await original.sql(schema);
    await using c = await storeNode('c', schema, ['*'], options);
    const first = { id: 'a', store: await openStore(original, 'a', ['*'], options) };
    await original.sql(`INSERT INTO items VALUES (1, 'before', 1), (2, 'before', 1)`);
    await pull(first, c);
    await first.store.close();
    await using copy = await copyDatabase(original);
    const since = new Date();
    const before = { id: 'a', store: await openStore(copy, 'a', ['*'], options) };
    await c.sql(`UPDATE items SET tags = '{c}' WHERE id = 2`);
    await copy.sql(`UPDATE items SET name = 'of the copy'`);
    await pull(c, before);
    await copy.sql(`UPDATE items SET price = 2 WHERE id = 1`);
    await before.store.close();
    await renameWriter({ url: copy.url, since, nodeId: 'a2' });
    const renamed = { id: 'a2', store: await openStore(copy, 'a2', ['*'], options) };
    try {
      await copy.sql(`UPDATE items SET price = 3 WHERE id = 2`);
      await pull(renamed, c);
      await pull(c, renamed);
      expect(await c.sql('SELECT id, name, price, tags FROM items ORDER BY id')).toEqual([
        { id: 1, name: 'of the copy', price: '2', tags: null },
        { id: 2, name: 'of the copy', price: '3', tags: ['c'] },
      ]);
      const shape = renamed.store.find('items')!;
      for (const key of ['1', '2']) {
        expect((await c.store.why(c.store.find('items')!, [key])).columns.name!.write!.node_id).toBe('a2');
        const listed = await renamed.store.rowHistory.list(shape, [key]);
        expect(new Set(listed.map(({ stamp }) => stamp)).size).toBe(listed.length);
        expect(listed.map(({ current }) => current)[0]).toBe(true);
      }
    } finally {
      await renamed.store.close();
    }
  });

  it('a new name is given between the transactions of users, and ends none of them', async () => {
    const { original, copy } = await cloned();
    await using _databases = dispose(original, copy);
    await copy.sql('CREATE TABLE others (id int PRIMARY KEY)');
    await (await openStore(copy, 'a')).close();
    const user = await copy.pool.connect();
    try {
      await user.query('BEGIN');
      await user.query('INSERT INTO others VALUES (1)');
      const renamed = renameWriter({ url: copy.url, since: new Date(Date.now() - 60_000) });
      // It has locked the one table by now, and waits for the other.
      await eventually('it waits for the user', async () => {
        const { rows } = await copy.pool.query(
          `SELECT FROM pg_locks WHERE NOT granted AND mode = 'ShareRowExclusiveLock'`,
        );
        return rows.length > 0;
      });
      await user.query(`UPDATE items SET name = 'written meanwhile' WHERE id = 1`);
      await user.query('COMMIT');
      expect(await renamed).toMatchObject({ before: expect.any(String), after: expect.any(String) });
    } finally {
      user.release();
    }
  });

  it('a peer that hears of both exchanges with neither, says so, and goes on when one has been stopped', async () => {
    const { original, copy } = await cloned();
    await using _databases = dispose(original, copy);
    const interval = { syncInterval: 500 };
    await using c = await LiveNode.start('c', schema, interval);
    await using a = await LiveNode.start('a', original, interval);
    await using clone = await LiveNode.start('a', copy, interval);
    await c.dial(a.url);
    await eventually('c has the rows', async () => expect(await names(c)).toHaveLength(3));
    await clone.dial(c.url);
    await eventually('both sides say that there are two', async () => {
      expect((await c.link('a')).last_error?.code).toBe('cloned_node');
      expect((await clone.link('c')).last_error?.code).toBe('cloned_node');
    });
    await c.tells({
      type: 'sync_failed',
      peer: 'a',
      code: 'cloned_node',
      detail: expect.stringMatching(/Two processes answer/),
    });
    await clone.sql(`UPDATE items SET name = 'of the copy'`);
    await clone.stop();
    await a.sql(`UPDATE items SET name = 'of the original'`);
    await eventually('c goes on with the one that is left', async () => {
      expect(await names(c)).toEqual([1, 2, 3].map((id) => ({ id, name: 'of the original' })));
    });
  });
});

function dispose(...databases: TestDatabase[]): AsyncDisposable {
  return {
    async [Symbol.asyncDispose]() {
      for (const database of databases) await database[Symbol.asyncDispose]();
    },
  };
}
