import { beginning, type FeedRequest } from '@pgmesh/core';
import type { Frame } from '@pgmesh/wire';
import { type AddressInfo, connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createDatabase } from '../support/database';
import { expectEqual, openStore, pull, settle, storeNode } from '../support/store-node';

const everything: FeedRequest = { kind: 'window', tables: ['public.t'], from: beginning };

/** What the soak has found, each on its own. */

it.each([
  ['small parts', 1],
  ['large parts', 12_000],
])('a deleted row passes a domain that takes no NULL, in %s', async (_, count) => {
  const schema = `CREATE DOMAIN sure AS int NOT NULL CHECK (value >= 0); CREATE DOMAIN surely AS sure[] NOT NULL;
    CREATE TABLE t (id int PRIMARY KEY, n sure, m surely)`;
  await using a = await storeNode('a', schema);
  await using b = await storeNode('b', schema);
  await a.sql(`INSERT INTO t SELECT n, n, ARRAY[n] FROM generate_series(1, ${count + 1}) AS n`);
  await pull(a, b);
  await a.sql(`DELETE FROM t WHERE id <= ${count}`);
  await pull(a, b);
  await expectEqual(a, b);
  expect(await b.sql('SELECT * FROM t')).toHaveLength(1);
});

it('an identity column that is GENERATED ALWAYS follows its row, also through conflicts', async () => {
  const schema = `CREATE TABLE t (name text PRIMARY KEY, number int GENERATED ALWAYS AS IDENTITY, note text, twice int GENERATED ALWAYS AS (length(note)) STORED)`;
  await using a = await storeNode('a', schema);
  await using b = await storeNode('b', schema);
  await a.sql(`INSERT INTO t (name, note) SELECT 'both ' || n, 'a' FROM generate_series(1, 20) AS n`);
  await b.sql(`INSERT INTO t (name, note) SELECT 'both ' || n, 'b' FROM generate_series(20, 1, -1) AS n`);
  await settle(a, b);
  await expectEqual(a, b);
  await a.sql(`UPDATE t SET number = DEFAULT WHERE name < 'both 2'`);
  await settle(a, b);
  await expectEqual(a, b);
  await b.sql(`UPDATE t SET note = 'later'`);
  await settle(a, b);
  await expectEqual(a, b);
  expect(await a.sql(`SELECT FROM t WHERE note = 'later' AND number > 20`)).not.toHaveLength(0);
});

it('a window that is left in the middle gives its connection back, more often than there are connections', async () => {
  await using a = await storeNode('a', 'CREATE TABLE t (id int PRIMARY KEY, note text)');
  await a.sql(`INSERT INTO t SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 20000) AS n`);
  for (let i = 0; i < 20; i++) {
    const window = await a.store.feed.open(everything, { except: () => [], limit: 20_000 });
    const frames = window.frames()[Symbol.asyncIterator]();
    for (let type = ''; type !== 'data';) type = ((await frames.next()).value as Frame).type;
    if (i % 2 === 0) await frames.return!();
    await window.close();
  }
  const whole = await a.store.feed.open(everything, { except: () => [], limit: 20_000 });
  let last: Frame | null = null;
  for await (const frame of whole.frames()) last = frame;
  expect(last).toMatchObject({ type: 'end', rows: 20_000 });
});

it('a window that is cut leaves out a table whose rows all lie behind the cut', async () => {
  const schema = 'CREATE TABLE many (id int PRIMARY KEY); CREATE TABLE single (id int PRIMARY KEY)';
  await using a = await storeNode('a', schema);
  await using b = await storeNode('b', schema);
  await settle(a, b);
  for (const from of [1, 101, 201]) await a.sql(`INSERT INTO many SELECT generate_series(${from}, ${from + 99})`);
  await a.sql('INSERT INTO single VALUES (1)');
  await pull(a, b, 150);
  await expectEqual(a, b);
});

it('a window knows how many rows a COPY had, also when the server tells it in a packet of its own', async () => {
  await using database = await createDatabase();
  await database.sql('CREATE TABLE t (id int PRIMARY KEY)');
  await database.sql('INSERT INTO t SELECT generate_series(1, 2000)');
  await using link = await splitting(Number(new URL(database.url).port), 'COPY 2000');
  const url = new URL(database.url);
  url.port = String(link.port);
  const store = await openStore({ ...database, url: url.href } as typeof database, 'a');
  const window = await store.feed.open(everything, { except: () => [], limit: 20_000 });
  const counts: number[] = [];
  for await (const frame of window.frames()) {
    if (frame.type === 'copied') counts.push(frame.count);
    if (frame.type === 'end') counts.push(frame.rows);
  }
  await store.close();
  expect({ counts, splits: link.splits() }).toEqual({ counts: [2000, 2000], splits: 1 });
});

/** A way to a server on which the message with that text comes a little later than what stands before it. */
async function splitting(target: number, text: string) {
  let splits = 0;
  const server = createServer((client) => {
    const upstream = connect(target, '127.0.0.1');
    client.pipe(upstream);
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.destroy());
    upstream.on('close', () => client.destroy());
    let last = Promise.resolve();
    upstream.on('data', (bytes: Buffer) => {
      last = last.then(async () => {
        const at = bytes.indexOf(text) - 5; // Its type and length stand before it.
        if (at < 0) return void client.write(bytes);
        splits++;
        client.write(bytes.subarray(0, at));
        await sleep(50);
        client.write(bytes.subarray(at));
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    splits: () => splits,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}
