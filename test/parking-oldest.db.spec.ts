import { type Rules, rulesOf } from '@pgmesh/core';
import { createDatabase } from './support/database';
import { expectEqual, openStore, pull, settle, type StoreNode, storeNode } from './support/store-node';

function rules(strategy: string, table?: string): Rules {
  const outcome = rulesOf([table === undefined ? { strategy } : { strategy, table }]);
  if (!outcome.ok) throw new Error(outcome.problems.join(' '));
  return outcome.rules;
}

async function withNodes(
  schema: string,
  first: Rules,
  work: (a: StoreNode, b: StoreNode, c: StoreNode) => Promise<void>,
): Promise<void> {
  const nodes = await Promise.all(['a', 'b', 'c'].map((id) => storeNode(id, schema, ['*'], { rules: first })));
  try {
    await work(...(nodes as [StoreNode, StoreNode, StoreNode]));
  } finally {
    for (const node of nodes) await node[Symbol.asyncDispose]();
  }
}

async function together(...nodes: StoreNode[]): Promise<void> {
  for (let i = 0; i < 3; i++) {
    for (const { store } of nodes) await store.settleParked();
    await settle(...nodes);
  }
  await expectEqual(...nodes);
}

const users = 'CREATE TABLE users (id int PRIMARY KEY, mail text UNIQUE, phone text UNIQUE, name text)';
const idsOf = async (node: StoreNode): Promise<unknown> =>
  (await node.sql<{ id: number }>('SELECT id FROM users ORDER BY id')).map(({ id }) => id);
const parkedAt = async ({ store }: StoreNode): Promise<unknown> =>
  (await store.parked.list({ limit: 100 })).parked.map(({ key, waits_for }) => [key.id, waits_for?.key.id]);

describe('Where the first write wins in a table', () => {
  const oldest = rules('first-write-wins', 'users');

  it('the older of two rows stands on every node, and the younger is back when the key is free', () =>
    withNodes(users, oldest, async (a, b) => {
      await a.sql(`INSERT INTO users VALUES (1, 'x')`);
      await b.sql(`INSERT INTO users VALUES (2, 'x')`);
      await together(a, b);
      for (const node of [a, b]) {
        expect(await idsOf(node)).toEqual([1]);
        expect(await parkedAt(node)).toEqual([['2', '1']]);
      }
      const { message } = (await b.store.parked.list({ limit: 1 })).parked[0]!;
      expect(message).toBe('An older row has the key: by users_mail_key, the row cannot stand beside {"id":"1"}.');
      await b.sql(`UPDATE users SET mail = 'y'`);
      await together(a, b);
      expect(await idsOf(a)).toEqual([1, 2]);
    }));

  it('no write of the row that stands gives its key away, nor does a write that changes nothing', () =>
    withNodes(users, oldest, async (a, b) => {
      await a.sql(`INSERT INTO users VALUES (1, 'x')`);
      await b.sql(`INSERT INTO users VALUES (2, 'x')`);
      await together(a, b);
      await a.sql(`UPDATE users SET name = 'Ann', phone = '1'`);
      await together(a, b);
      await b.sql(`INSERT INTO users VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = 'Anna'`);
      await together(a, b);
      expect(await idsOf(a)).toEqual([1]);
      // Both have changed it: whoever decides that writes it as it is.
      await a.sql(`UPDATE users SET name = 'of a'`);
      await b.sql(`UPDATE users SET name = 'of b'`);
      await together(a, b);
      const { id, winner } = (await a.store.conflicts.list({ limit: 1 })).conflicts[0]!;
      await a.store.conflicts.resolve(id, { version: { stamp: winner.stamp, origin: winner.origin } });
      await together(a, b);
      expect(await idsOf(b)).toEqual([1]);
      expect(await parkedAt(b)).toEqual([['2', '1']]);
    }));

  it('a row is as old as its last insert', () =>
    withNodes(users, oldest, async (a, b) => {
      await a.sql(`INSERT INTO users VALUES (1, 'x')`);
      await b.sql(`INSERT INTO users VALUES (2, 'x')`);
      await a.sql(`DELETE FROM users`);
      await a.sql(`INSERT INTO users VALUES (1, 'x')`);
      await together(a, b);
      expect(await idsOf(a)).toEqual([2]);
    }));

  it('an old row that takes the key of a younger one has it', () =>
    withNodes(users, oldest, async (a, b) => {
      await a.sql(`INSERT INTO users VALUES (1, 'x')`);
      await together(a, b);
      await b.sql(`INSERT INTO users VALUES (2, 'y')`);
      await a.sql(`UPDATE users SET mail = 'y'`);
      await together(a, b);
      expect(await a.sql('SELECT id, mail FROM users')).toEqual([{ id: 1, mail: 'y' }]);
    }));

  it('a chain settles at once: who loses one key leaves the other free', () =>
    withNodes(users, oldest, async (a, b, c) => {
      await c.sql(`INSERT INTO users VALUES (1, 'm', NULL)`);
      await b.sql(`INSERT INTO users VALUES (2, 'm', 'p')`);
      await a.sql(`INSERT INTO users VALUES (3, 'c', 'p')`);
      await settle(a, b);
      expect(await idsOf(a)).toEqual([2]);
      await together(a, b, c);
      for (const node of [a, b, c]) expect(await idsOf(node)).toEqual([1, 3]);
      await c.sql(`UPDATE users SET mail = 'n' WHERE id = 1`);
      await together(a, b, c);
      for (const node of [a, b, c]) expect(await idsOf(node)).toEqual([1, 2]);
    }));

  it('a local row that takes the key of an older one that waits for its parent is parked after its commit', () =>
    withNodes(
      `${users}; CREATE TABLE posts (id int PRIMARY KEY); ALTER TABLE users ADD post int REFERENCES posts`,
      oldest,
      async (a, b) => {
        await a.sql(`INSERT INTO posts VALUES (7)`);
        await together(a, b);
        await a.sql(`INSERT INTO users VALUES (1, 'x', NULL, NULL, 7)`);
        await b.sql(`DELETE FROM posts`);
        await together(a, b);
        await b.sql(`INSERT INTO users VALUES (2, 'x')`);
        await together(a, b);
        expect(await idsOf(b)).toEqual([]);
        await b.sql(`INSERT INTO posts VALUES (7)`);
        await together(a, b);
        for (const node of [a, b]) expect(await idsOf(node)).toEqual([1]);
      },
    ));

  it('writes of another isolation, and those that capture puts aside, keep the age', () =>
    withNodes(users, oldest, async (a, b) => {
      await a.sql(`INSERT INTO users VALUES (1, 'x')`);
      await b.sql(`INSERT INTO users VALUES (2, 'x')`);
      await a.sql(`ALTER TABLE users RENAME TO people`);
      await a.sql(`UPDATE people SET name = 'Ann'`);
      await a.sql(`ALTER TABLE people RENAME TO users`);
      await a.store.keepUp();
      await a.sql(`BEGIN ISOLATION LEVEL SERIALIZABLE; UPDATE users SET phone = '1'; COMMIT`);
      await together(a, b);
      expect(await b.sql('SELECT id, name, phone FROM users')).toEqual([{ id: 1, name: 'Ann', phone: '1' }]);
    }));
});

describe('A rule that changes while nodes run', () => {
  it('settles all keys anew: the other row stands on every node that has it', () =>
    withNodes(users, rules('last-write-wins'), async (a, b) => {
      await a.sql(`INSERT INTO users VALUES (1, 'x', 'p')`);
      await b.sql(`INSERT INTO users VALUES (2, 'x', NULL), (3, NULL, 'p'), (4, 'z', NULL)`);
      await together(a, b);
      expect(await idsOf(a)).toEqual([2, 3, 4]);
      const oldest = rules('first-write-wins');
      await a.store.setRules(oldest);
      expect(await idsOf(a)).toEqual([1, 4]);
      await b.store.setRules(oldest);
      await together(a, b);
      expect(await idsOf(b)).toEqual([1, 4]);
      await a.sql(`UPDATE users SET name = 'Ann' WHERE id = 1`);
      await together(a, b);
      expect(await idsOf(b)).toEqual([1, 4]);
      for (const { store } of [a, b]) await store.setRules(rules('last-write-wins'));
      await together(a, b);
      // The newest write by now.
      expect(await idsOf(a)).toEqual([1, 4]);
      await a.sql('UPDATE users SET mail = NULL, phone = NULL WHERE id = 1');
      await together(a, b);
      expect(await idsOf(b)).toEqual([1, 2, 3, 4]);
    }));

  it('is followed at the start, too', () =>
    withNodes(users, rules('last-write-wins'), async (a) => {
      await using db = await createDatabase();
      await db.pool.query(users);
      const before = await openStore(db, 'd');
      await db.sql(`INSERT INTO users VALUES (1, 'x')`);
      await a.sql(`INSERT INTO users VALUES (2, 'x')`);
      await pull(a, { id: 'd', store: before });
      expect(await db.sql('SELECT id FROM users')).toEqual([{ id: 2 }]);
      await before.close();
      const after = await openStore(db, 'd', ['*'], { rules: rules('first-write-wins', 'users') });
      try {
        expect(await db.sql('SELECT id FROM users')).toEqual([{ id: 1 }]);
      } finally {
        await after.close();
      }
    }));
});
