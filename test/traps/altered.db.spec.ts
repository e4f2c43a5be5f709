import { setTimeout as sleep } from 'node:timers/promises';
import { Problem } from '@pgmesh/wire';
import { expectEqual, pull, settle, type StoreNode, storeNode } from '../support/store-node';

const schema = `CREATE TABLE items (id int PRIMARY KEY, name text, n int DEFAULT 0);`;

/** What a sync answers to while a table is being altered: it comes again. Anything else is a failure. */
async function pullOrWait(from: StoreNode, to: StoreNode): Promise<string> {
  try {
    await pull(from, to, 700);
    return 'pulled';
  } catch (error) {
    if (!(error instanceof Problem) || !['busy', 'unknown_column', 'invalid_value'].includes(error.code)) throw error;
    return error.code;
  }
}

/** Pulls both ways until nothing is left, as a sync does that comes again. */
async function settleInTime(a: StoreNode, b: StoreNode): Promise<void> {
  for (let i = 0; i < 5; i++) {
    await pullOrWait(a, b);
    await pullOrWait(b, a);
  }
  await settle(a, b);
}

/** Rows, and versions without the images of losers, which keep the columns of the time when they were made. */
async function expectSame(a: StoreNode, b: StoreNode): Promise<void> {
  const held = (node: StoreNode) =>
    node.sql(`SELECT d::text, m.key1, m.stamp, m.origin, m.past, m.deleted, (SELECT jsonb_agg(s - 'image') FROM jsonb_array_elements(m.siblings) AS s) AS siblings
      FROM p2p.meta_1 AS m FULL JOIN items AS d ON d.id = m.key1 ORDER BY 2`);
  expect(await held(b)).toEqual(await held(a));
}

describe('A table that is altered in mid-stream', () => {
  it('trap 32: pauses while a column is on one side only, names it, and goes on by itself', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await a.sql(`INSERT INTO items VALUES (1, 'x')`);
    await settle(a, b);
    for (const [change, write, value] of [
      ['ADD colour text', `UPDATE items SET colour = 'red'`, `colour = 'red'`],
      ['RENAME name TO title', `UPDATE items SET title = 'renamed'`, `title = 'renamed'`],
      ['ALTER n TYPE numeric', `UPDATE items SET n = 1.50`, `n::text = '1.50'`],
      ['ADD made int[] NOT NULL DEFAULT ARRAY[7]', `UPDATE items SET made = '{1,2}'`, `made = '{1,2}'`],
      ['DROP colour', `UPDATE items SET title = 'without colour'`, `title = 'without colour'`],
    ] as const) {
      await a.sql(`ALTER TABLE items ${change}`);
      await a.sql(write);
      const answers = [await pullOrWait(a, b), await pullOrWait(a, b)];
      if (/^ADD|^RENAME/.test(change)) expect([change, answers[1]]).toEqual([change, 'unknown_column']);
      await b.sql(`ALTER TABLE items ${change}`);
      await settleInTime(a, b);
      await expectSame(a, b);
      expect(await b.sql(`SELECT ${value} AS there FROM items`)).toEqual([{ there: true }]);
    }
    await b.sql(`UPDATE items SET title = 'of b'`);
    await settleInTime(a, b);
    await expectSame(a, b);
  });

  it('trap 32: keeps what only one side has, in conflicts too', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await a.sql(`INSERT INTO items VALUES (1, 'x'), (2, 'x'), (3, 'x')`);
    await settle(a, b);
    await b.sql(`ALTER TABLE items ADD extra text NOT NULL DEFAULT 'default'`);
    await b.sql(`UPDATE items SET extra = 'kept' WHERE id = 1`);
    await b.sql(`UPDATE items SET extra = 'lost' WHERE id = 2`);
    await a.sql(`UPDATE items SET name = 'of a'; INSERT INTO items VALUES (4, 'new')`);
    expect(await pullOrWait(a, b)).toBe('busy');
    await pull(a, b);
    expect(await b.sql('SELECT id, name, extra FROM items ORDER BY id')).toEqual([
      { id: 1, name: 'of a', extra: 'kept' },
      { id: 2, name: 'of a', extra: 'lost' },
      { id: 3, name: 'of a', extra: 'default' },
      { id: 4, name: 'new', extra: 'default' },
    ]);
    // Nobody has written these rows as they stand: they are versions of b's own now, that cover both.
    expect(await b.sql(`SELECT key1, siblings FROM p2p.meta_1 WHERE origin LIKE 'b~%' ORDER BY key1`)).toEqual([
      { key1: 1, siblings: null },
      { key1: 2, siblings: null },
    ]);
    await a.sql(`ALTER TABLE items ADD extra text NOT NULL DEFAULT 'default'`);
    await settleInTime(a, b);
    await expectSame(a, b);
  });

  it('trap 32: loses no row while windows are read and merged', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await a.sql(`INSERT INTO items SELECT i, 'x' FROM generate_series(1, 2000) AS i`);
    await settle(a, b);
    let altering = true;
    const write = (async () => {
      for (let i = 0; altering; i++) {
        await a.sql(`UPDATE items SET n = n + 1 WHERE id % 50 = ${i % 50}`);
        await b.sql(`UPDATE items SET n = n + 1 WHERE id % 70 = ${i % 70}`);
        await sleep(3);
      }
    })();
    const answers = new Set<string>();
    const read = (async () => {
      while (altering)
        for (const [from, to] of [
          [a, b],
          [b, a],
        ] as const)
          answers.add(await pullOrWait(from, to));
    })();
    for (const change of [
      'ADD c1 text',
      'ADD c2 int DEFAULT 5',
      'ALTER n TYPE bigint',
      'ADD c3 int DEFAULT (random() * 0)::int',
      'RENAME c1 TO c4',
      'ALTER c2 TYPE text',
      'DROP c3',
      'ALTER name TYPE varchar(100)',
      'DROP c4',
    ]) {
      for (const node of [a, b]) {
        await node.sql(`ALTER TABLE items ${change}`);
        await sleep(40);
      }
    }
    altering = false;
    await Promise.all([write, read]);
    expect(answers).toContain('busy');
    await settleInTime(a, b);
    await expectSame(a, b);
    expect(await b.sql('SELECT count(*)::int AS n FROM items')).toEqual([{ n: 2000 }]);
  });

  it('trap 32: TRUNCATE and rewrites beside open windows make neither ghosts nor holes', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    let running = true;
    const read = (async () => {
      while (running) await pullOrWait(a, b);
    })();
    for (let i = 0; i < 12; i++) {
      await a.sql(`INSERT INTO items SELECT i, 'round ${i}' FROM generate_series(1, 900) AS i ON CONFLICT DO NOTHING`);
      await sleep(10);
      await a.sql(
        [
          'TRUNCATE items',
          'ALTER TABLE items ALTER n TYPE bigint USING n',
          'VACUUM FULL items',
          'CLUSTER items USING items_pkey',
          'BEGIN ISOLATION LEVEL REPEATABLE READ; TRUNCATE items; COMMIT',
        ][i % 5]!,
      );
    }
    running = false;
    await read;
    await settle(a, b);
    await expectEqual(a, b);
    expect(await pull(a, b)).toBe(0);
  });
});
