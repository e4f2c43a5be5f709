import { setTimeout as sleep } from 'node:timers/promises';
import { type FeedRequest, nextRequest } from '@pgmesh/core';
import type { Frame } from '@pgmesh/wire';
import { contents, expectEqual, pull, settle, type StoreNode, storeNode } from '../support/store-node';

const schema = `CREATE TABLE items (id int PRIMARY KEY, name text, n int DEFAULT 0);`;

/** A window as it was read, to be given to a receiver whenever and as often as a test wants. */
async function read(
  from: StoreNode,
  to: StoreNode,
  kind: FeedRequest['kind'] = 'window',
  limit = 20_000,
): Promise<Frame[]> {
  const { epoch, nodeId } = from.store.identity;
  const request = nextRequest(
    await to.store.inbox.position(nodeId),
    epoch,
    from.store.tables(),
    kind === 'copy' ? 'window' : 'copy',
  );
  const window = await from.store.feed.open(request!, { except: () => [to.id], limit });
  const frames: Frame[] = [];
  for await (const frame of window.frames())
    frames.push(frame.type === 'data' ? { ...frame, bytes: Buffer.from(frame.bytes) } : frame);
  return frames;
}

async function* sent(frames: readonly Frame[]): AsyncGenerator<Frame> {
  yield* frames;
}

const give = async (to: StoreNode, frames: readonly Frame[]) => (await to.store.inbox.apply(sent(frames))).outcome;

describe('Merging', () => {
  it('trap 06: a version stamped ten years ahead is refused, and moves no clock', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await settle(a, b);
    await a.sql(`INSERT INTO items VALUES (1, 'from the future'), (2, 'in time')`);
    await a.sql(`UPDATE p2p.meta_1 SET stamp = stamp + 315360000000000 WHERE key1 = 1`);
    await expect(pull(a, b)).rejects.toMatchObject({
      code: 'clock_drift',
      status: 422,
      message: expect.stringContaining('NTP'),
    });
    expect(await b.sql('SELECT count(*)::int AS n FROM items')).toEqual([{ n: 0 }]);
    await b.sql(`INSERT INTO items VALUES (3, 'mine')`);
    const [{ ahead }] = (await b.sql<{ ahead: number }>(
      `SELECT ((stamp - p2p.clock()) / 1000000)::int AS ahead FROM p2p.meta_1`,
    )) as [{ ahead: number }];
    expect(ahead).toBeLessThanOrEqual(0);
    await a.sql(`UPDATE p2p.meta_1 SET stamp = stamp - 315360000000000 WHERE key1 = 1`);
    await settle(a, b);
    await expectEqual(a, b);
  });

  it('trap 06: so is one that comes as a sibling, and the limit can be raised', async () => {
    await using a = await storeNode('a', schema, ['*'], { maxDrift: 1e15 });
    await using b = await storeNode('b', schema, ['*'], { maxDrift: 1e15 });
    await using c = await storeNode('c', schema);
    await a.sql(`INSERT INTO items VALUES (1, 'a')`);
    await b.sql(`INSERT INTO items VALUES (1, 'b')`);
    await b.sql(`UPDATE p2p.meta_1 SET stamp = stamp + 315360000000000`);
    await settle(a, b);
    await expectEqual(a, b);
    await expect(pull(a, c)).rejects.toMatchObject({ code: 'clock_drift' });
    expect(await c.sql('SELECT * FROM items')).toEqual([]);
  });

  it('a version that claims this node as its origin and that it never wrote is refused; one that it wrote is not', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await using c = await storeNode('c', schema);
    await b.sql(`INSERT INTO items VALUES (1, 'by b'), (2, 'by b')`);
    await settle(a, b, c);
    const { origin } = b.store.identity;
    const refused = { code: 'invalid_version', status: 422, message: expect.stringContaining('new-incarnation') };
    const before = await contents(b, 'items');

    // Later than all that it wrote, of a row that it has and of one that it never had; and as a sibling.
    for (const forge of [
      `UPDATE p2p.meta_1 SET stamp = stamp + 1, via = NULL, xid = pg_current_xact_id() WHERE key1 = 1`,
      `INSERT INTO items VALUES (3, 'forged'); UPDATE p2p.meta_1 SET origin = '${origin}' WHERE key1 = 3`,
      `INSERT INTO items VALUES (4, 'by a'); UPDATE p2p.meta_1 SET siblings = jsonb_build_array(jsonb_build_object('stamp', stamp - 1,
         'origin', '${origin}', 'priority', 0, 'past', NULL, 'deleted', true, 'image', NULL)) WHERE key1 = 4`,
    ]) {
      await a.sql(forge);
      await expect(pull(a, b)).rejects.toMatchObject(refused);
      expect(await contents(b, 'items')).toEqual(before);
      await a.sql(`DELETE FROM items WHERE id > 2`);
      await a.sql(`DELETE FROM p2p.meta_1 WHERE key1 > 2`);
      await a.sql(`UPDATE p2p.meta_1 AS m SET stamp = 1 WHERE m.key1 = 1`);
    }

    // What it wrote comes back over others, also after it has covered it.
    await b.sql(`UPDATE items SET name = 'by b again' WHERE id = 2`);
    await pull(c, b);
    await settle(c, b);
    await expectEqual(b, c);
  });

  it.each([
    [
      'a vector of 100,000 entries',
      `past = (SELECT jsonb_object_agg('n' || i || '~000000000000', i) FROM generate_series(1, 100000) AS i)`,
    ],
    ['a past that is later than itself', `past = jsonb_build_object('n~000000000000', stamp + 1)`],
    ['a past in words', `past = '{"n~000000000000": "yesterday"}'`],
    ['an origin that is no name', `origin = '<script>'`],
    ['siblings that are none', `siblings = '[{"stamp": 1}]'`],
    [
      'a sibling with another key',
      `siblings = jsonb_build_array(jsonb_build_object('stamp', 1, 'origin', 'n~000000000000', 'priority', 0, 'past', NULL,
      'deleted', false, 'image', '{"id": "77", "name": "x"}'::jsonb))`,
    ],
  ])('a version with %s is refused, and nothing of its window is applied', async (_what, forged) => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await a.sql(`INSERT INTO items VALUES (1, 'sound'), (2, 'forged')`);
    await a.sql(`UPDATE p2p.meta_1 SET ${forged} WHERE key1 = 2`);
    await expect(pull(a, b)).rejects.toMatchObject({ code: 'invalid_version', status: 422 });
    expect(await b.sql('SELECT * FROM items')).toEqual([]);
    expect(await b.sql('SELECT * FROM p2p.meta_1')).toEqual([]);
  });

  it('trap 15: windows that come twice, late and in another order change nothing', async () => {
    await using a = await storeNode('a', schema + `INSERT INTO items SELECT i, 'old' FROM generate_series(1, 40) AS i`);
    await using b = await storeNode('b', schema);
    const pieces: Frame[][] = [];
    for (let kind: FeedRequest['kind'] = 'copy'; ;) {
      const piece = await read(a, b, kind, 9);
      pieces.push(piece);
      await give(b, piece);
      const [first] = piece;
      if (first?.type === 'window' && first.next === null) break;
    }
    await settle(a, b);
    const windows: Frame[][] = [];
    for (let i = 0; i < 8; i++) {
      await a.sql(`UPDATE items SET name = 'w${i}', n = n + 1 WHERE id % ${i + 1} = 0`);
      await a.sql(`DELETE FROM items WHERE id = ${i + 20}`);
      await a.sql(`INSERT INTO items VALUES (${i + 20}, 'again') ON CONFLICT DO NOTHING`);
      windows.push(await read(a, b));
      if (i % 2 === 0) await give(b, windows.at(-1)!);
    }
    const all = [...pieces, ...windows, ...windows, ...pieces];
    for (let i = all.length - 1; i > 0; i--) {
      const j = (i * 7919 + 13) % (i + 1);
      [all[i], all[j]] = [all[j]!, all[i]!];
    }
    for (const window of all) expect(['applied', 'gap']).toContain(await give(b, window));
    await settle(a, b);
    await expectEqual(a, b);
    expect((await pull(a, b)) + (await pull(b, a))).toBe(0);
  });

  it('trap 16: an update or a delete that comes before its insert is whole, and the insert that comes late brings nothing back', async () => {
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await using c = await storeNode('c', schema);
    await settle(a, b, c);
    await a.sql(`INSERT INTO items VALUES (1, 'first'), (2, 'first'), (3, 'first')`);
    const late = await read(a, c);
    await pull(a, b);
    await b.sql(`UPDATE items SET name = 'second' WHERE id = 1`);
    await b.sql(`DELETE FROM items WHERE id = 2`);
    await b.sql(`UPDATE items SET id = 30 WHERE id = 3`);
    await pull(b, c);
    expect(await c.sql('SELECT id, name FROM items ORDER BY id')).toEqual([
      { id: 1, name: 'second' },
      { id: 30, name: 'first' },
    ]);
    expect(await c.sql('SELECT key1, deleted FROM p2p.meta_1 WHERE deleted ORDER BY 1')).toEqual([
      { key1: 2, deleted: true },
      { key1: 3, deleted: true },
    ]);
    expect(await give(c, late)).toBe('applied');
    expect(await c.sql('SELECT id, name FROM items ORDER BY id')).toEqual([
      { id: 1, name: 'second' },
      { id: 30, name: 'first' },
    ]);
    await settle(a, b, c);
    await expectEqual(a, b, c);
  });

  it('trap 24: what a cascade changed at its source arrives as those changes, and is not cascaded again', async () => {
    const family = `CREATE TABLE parents (id int PRIMARY KEY, name text);
      CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents ON DELETE CASCADE ON UPDATE CASCADE, name text);
      CREATE TABLE orphans (id int PRIMARY KEY, parent int DEFAULT 9 REFERENCES parents ON DELETE SET DEFAULT);
      CREATE TABLE lost (id int PRIMARY KEY, parent int REFERENCES parents ON DELETE SET NULL);`;
    await using a = await storeNode('a', family);
    await using b = await storeNode('b', family);
    await a.sql(`INSERT INTO parents SELECT i, 'p' FROM generate_series(1, 9) AS i`);
    await a.sql(`INSERT INTO children SELECT i, i % 9 + 1, 'c' FROM generate_series(1, 90) AS i`);
    await a.sql(
      `INSERT INTO orphans SELECT i, i % 8 + 1 FROM generate_series(1, 40) AS i; INSERT INTO lost SELECT i, i % 9 + 1 FROM generate_series(1, 40) AS i`,
    );
    await settle(a, b);
    await a.sql(`DELETE FROM parents WHERE id < 3`);
    await a.sql(
      `UPDATE parents SET id = id + 100 WHERE id = 4 AND NOT EXISTS (SELECT FROM orphans WHERE parent = 4) OR id = 200`,
    );
    await a.sql(
      `DELETE FROM orphans WHERE parent = 5; DELETE FROM lost WHERE parent = 5; UPDATE parents SET id = 105 WHERE id = 5`,
    );
    await settle(a, b);
    await expectEqual(a, b);
    expect(await b.sql(`SELECT count(*)::int AS n FROM children WHERE parent < 3`)).toEqual([{ n: 0 }]);
    expect(await b.sql(`SELECT count(*)::int AS n FROM children WHERE parent = 105`)).toEqual([{ n: 10 }]);
    expect(
      await b.sql(
        `SELECT DISTINCT origin LIKE 'a~%' AS a FROM (SELECT origin FROM p2p.meta_1 UNION SELECT origin FROM p2p.meta_2) AS x`,
      ),
    ).toEqual([{ a: true }]);
    expect((await pull(a, b)) + (await pull(b, a))).toBe(0);
  });

  it('trap 28: generated columns are computed by every node for itself, and identities are taken as they are', async () => {
    const computed = (
      factor: number,
    ) => `CREATE TABLE items (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, price numeric,
      gross numeric GENERATED ALWAYS AS (price * ${factor}) STORED);`;
    await using a = await storeNode('a', computed(2));
    await using b = await storeNode('b', computed(3));
    await a.sql(`INSERT INTO items (name, price) VALUES ('pen', 10), ('ink', 20)`);
    await settle(a, b);
    expect(await a.sql('SELECT id, gross FROM items ORDER BY id')).toEqual([
      { id: 1, gross: '20' },
      { id: 2, gross: '40' },
    ]);
    expect(await b.sql('SELECT id, gross FROM items ORDER BY id')).toEqual([
      { id: 1, gross: '30' },
      { id: 2, gross: '60' },
    ]);
    await a.sql(`UPDATE items SET price = 11 WHERE id = 1`);
    await b.sql(`UPDATE items SET price = 12 WHERE id = 1`);
    await a.sql(
      `INSERT INTO items (id, name, price) OVERRIDING SYSTEM VALUE SELECT i, 'many', i FROM generate_series(100, 800) AS i`,
    );
    await settle(a, b);
    await expectEqual(a, b);
    expect(await a.sql('SELECT price, gross FROM items WHERE id = 1')).toEqual([{ price: '12', gross: '24' }]);
    expect(await b.sql('SELECT price, gross FROM items WHERE id = 1')).toEqual([{ price: '12', gross: '36' }]);
  });

  it('trap 29: a trigger that sets updated_at does not fire on apply, so that nodes at rest exchange nothing', async () => {
    const triggered = `CREATE TABLE items (id int PRIMARY KEY, name text, updated_at timestamptz, fired int DEFAULT 0);
      CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at := clock_timestamp(); NEW.fired := coalesce(NEW.fired, 0) + 1; RETURN NEW; END $$;
      CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION touch();`;
    await using a = await storeNode('a', triggered);
    await using b = await storeNode('b', triggered);
    await a.sql(`INSERT INTO items (id, name) SELECT i, 'x' FROM generate_series(1, 700) AS i`);
    await settle(a, b);
    await b.sql(`UPDATE items SET name = 'of b' WHERE id < 10`);
    await a.sql(`UPDATE items SET name = 'of a' WHERE id < 5`);
    await settle(a, b);
    await expectEqual(a, b);
    expect(await b.sql('SELECT DISTINCT fired FROM items ORDER BY 1')).toEqual([{ fired: 1 }, { fired: 2 }]);
    for (let i = 0; i < 3; i++) expect((await pull(a, b)) + (await pull(b, a))).toBe(0);
  });

  it('trap 13: a node that joins under full load has every row in the end', async () => {
    await using a = await storeNode(
      'a',
      schema + `INSERT INTO items SELECT i, 'old' FROM generate_series(1, 3000) AS i`,
    );
    await using b = await storeNode('b', schema);
    let joining = true;
    const write = async (worker: number) => {
      for (let i = 0; joining; i++) {
        const at = (i * 37 + worker * 911) % 3000;
        await a.sql(`INSERT INTO items VALUES ($1, 'new') ON CONFLICT (id) DO UPDATE SET n = items.n + 1`, [at - 1500]);
        await a
          .sql(`UPDATE items SET name = 'changed', n = n + 1 WHERE id BETWEEN $1 AND $1 + 20`, [at])
          .catch(giveWay);
        await a.sql(`DELETE FROM items WHERE id = $1`, [at + 5]);
        await a
          .sql(
            `UPDATE items SET id = id + 10000 WHERE id = $1 AND NOT EXISTS (SELECT FROM items WHERE id = $1 + 10000)`,
            [at + 7],
          )
          .catch(giveWay);
        await a
          .sql(
            `UPDATE items SET id = id - 10000 WHERE id = $1 AND NOT EXISTS (SELECT FROM items WHERE id = $1 - 10000)`,
            [at + 9990],
          )
          .catch(giveWay);
      }
    };
    const writers = [1, 2, 3].map(write);
    await pullWhileBusy(a, b, 100, 150);
    joining = false;
    await Promise.all(writers);
    await settle(a, b);
    await expectEqual(a, b);
    expect(await pull(a, b)).toBe(0);
  });
});

/** Writers of a test may well be in each other's way: a deadlock or a key that is taken meanwhile is theirs. */
function giveWay(error: Error & { code?: string }): void {
  if (!['40P01', '23505'].includes(error.code ?? '')) throw error;
}

/** Pulls window after window, at least `steps` of them, from a node that never rests. */
async function pullWhileBusy(from: StoreNode, to: StoreNode, limit: number, steps: number): Promise<void> {
  let last: FeedRequest['kind'] | null = null;
  for (let i = 0; i < steps || (await to.store.inbox.position(from.id))?.copy; i++) {
    const request = nextRequest(
      await to.store.inbox.position(from.id),
      from.store.identity.epoch,
      from.store.tables(),
      last,
    );
    const window = await from.store.feed.open(request!, { except: () => [to.id], limit });
    expect((await to.store.inbox.apply(window.frames())).outcome).toBe('applied');
    last = request!.kind;
    await sleep(1);
  }
}
