import { setTimeout as sleep } from 'node:timers/promises';
import { detach } from '@pgmesh/store';
import { expectEqual, openStore, pull, settle, type StoreNode, storeNode } from './support/store-node';

async function withNodes(schema: string, work: (...nodes: StoreNode[]) => Promise<void>, count = 2): Promise<void> {
  const nodes = await Promise.all(['a', 'b', 'c'].slice(0, count).map((id) => storeNode(id, schema)));
  try {
    await work(...nodes);
  } finally {
    for (const node of nodes) await node[Symbol.asyncDispose]();
  }
}

/** What people are shown of the parked rows, by table and key. */
async function parked({ store }: StoreNode): Promise<unknown[]> {
  const { parked: all } = await store.parked.list({ limit: 1000 });
  return all
    .map(({ table, key, reason, constraint, waits_for, row }) => ({ table, key, reason, constraint, waits_for, row }))
    .sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

/** All that was to be settled after local writes is, everything has been exchanged, and the nodes are the same. */
async function together(...nodes: StoreNode[]): Promise<void> {
  for (let i = 0; i < 3; i++) {
    for (const { store } of nodes) await store.settleParked();
    await settle(...nodes);
  }
  for (const from of nodes) for (const to of nodes) if (from !== to) expect(await pull(from, to)).toBe(0);
  await expectEqual(...nodes);
  for (const node of nodes.slice(1)) expect(await parked(node)).toEqual(await parked(nodes[0]!));
}

const users = `CREATE TABLE users (id int PRIMARY KEY, mail text UNIQUE, phone text UNIQUE)`;

/** The rows of a table as JSON texts, in order. */
async function rowsOf(node: StoreNode, table: string): Promise<string[]> {
  const rows = await node.sql<{ row: string }>(`SELECT to_jsonb(t)::text AS row FROM ${table} AS t ORDER BY t`);
  return rows.map(({ row }) => row);
}

describe('Rows with one unique key', () => {
  it('trap 26: the newest stands on every node, the other is parked, and is back when the key is free', () =>
    withNodes(users, async (a, b) => {
      await a!.sql(`INSERT INTO users VALUES (1, 'x', NULL)`);
      await b!.sql(`INSERT INTO users VALUES (2, 'x', NULL)`);
      await together(a!, b!);
      expect(await a!.sql('SELECT * FROM users')).toEqual([{ id: 2, mail: 'x', phone: null }]);
      expect(await parked(a!)).toEqual([
        {
          table: 'public.users',
          key: { id: '1' },
          reason: 'key',
          constraint: 'users_mail_key',
          waits_for: { table: 'public.users', key: { id: '2' } },
          row: { id: '1', mail: 'x', phone: null },
        },
      ]);
      await a!.sql(`UPDATE users SET mail = 'y' WHERE id = 2`);
      await together(a!, b!);
      expect(await b!.sql('SELECT * FROM users ORDER BY id')).toEqual([
        { id: 1, mail: 'x', phone: null },
        { id: 2, mail: 'y', phone: null },
      ]);
      expect(await parked(b!)).toEqual([]);
    }));

  it('comes back as it was where defaults are of other types than their columns', () =>
    withNodes(
      `CREATE TABLE users (id int PRIMARY KEY, mail text UNIQUE, by text DEFAULT current_user, at timestamp DEFAULT now())`,
      async (a, b) => {
        const row = { id: 1, mail: 'x', by: 'long '.repeat(30), at: '2026-03-29T02:30:00' };
        await a!.sql(`INSERT INTO users VALUES (1, 'x', repeat('long ', 30), '2026-03-29 02:30')`);
        await b!.sql(`INSERT INTO users (id, mail) VALUES (2, 'x')`);
        await together(a!, b!);
        expect(await parked(a!)).toHaveLength(1);
        await b!.sql('DELETE FROM users WHERE id = 2');
        await together(a!, b!);
        for (const node of [a!, b!])
          expect((await rowsOf(node, 'users')).map((text) => JSON.parse(text))).toEqual([row]);
      },
    ));

  it('trap 26: a chain settles at once: who loses one key leaves the other free', () =>
    withNodes(
      users,
      async (a, b, c) => {
        await a!.sql(`INSERT INTO users VALUES (3, 'c', 'p')`);
        await b!.sql(`INSERT INTO users VALUES (2, 'm', 'p')`);
        await settle(a!, b!);
        expect(await a!.sql('SELECT id FROM users')).toEqual([{ id: 2 }]);
        await c!.sql(`INSERT INTO users VALUES (1, 'm', NULL)`);
        await pull(c!, a!);
        expect(await a!.sql('SELECT id FROM users ORDER BY id')).toEqual([{ id: 1 }, { id: 3 }]);
        await together(a!, b!, c!);
        expect(await c!.sql('SELECT id FROM users ORDER BY id')).toEqual([{ id: 1 }, { id: 3 }]);
      },
      3,
    ));

  it('trap 26: two rows swap their keys, in one window and on two nodes', () =>
    withNodes(users, async (a, b) => {
      await a!.sql(`INSERT INTO users VALUES (1, 'x', '1'), (2, 'y', '2')`);
      await together(a!, b!);
      await a!.sql(`UPDATE users SET mail = NULL; UPDATE users SET mail = CASE id WHEN 1 THEN 'y' ELSE 'x' END`);
      await pull(a!, b!);
      expect(await rowsOf(b!, 'users')).toEqual(await rowsOf(a!, 'users'));
      expect(await parked(b!)).toEqual([]);
      await a!.sql(`UPDATE users SET mail = 'z' WHERE id = 1`);
      await b!.sql(
        `UPDATE users SET mail = 'w' WHERE id = 2; UPDATE users SET phone = NULL; UPDATE users SET phone = CASE id WHEN 1 THEN '2' ELSE '1' END`,
      );
      await together(a!, b!);
    }));

  it.each([
    ['composite', 'UNIQUE (x, y)', ['1, 1', '1, 2'], ['1, 1', '2, 2'], 1],
    ['partial', '', ['1, 1', '2, -1'], ['1, 2', '2, -2'], 1, 'CREATE UNIQUE INDEX ON t (x) WHERE y > 0'],
    [
      'over an expression',
      '',
      ['1, 10', '2, 20'],
      ['3, 11', '4, 30'],
      1,
      'CREATE UNIQUE INDEX ON t ((y / 10), (x > 0))',
    ],
    ['NULLS NOT DISTINCT', 'UNIQUE NULLS NOT DISTINCT (x, y)', ['1, NULL', 'NULL, NULL'], ['1, NULL', '2, NULL'], 1],
    ['with NULLs', 'UNIQUE (x, y)', ['1, NULL', 'NULL, NULL'], ['1, NULL', 'NULL, NULL'], 0],
    ['deferrable', 'UNIQUE (x) DEFERRABLE INITIALLY DEFERRED', ['1, 1', '2, 1'], ['1, 2', '3, 1'], 1],
    ['an exclusion', 'EXCLUDE USING gist (int4range(x, y) WITH &&)', ['1, 5', '10, 20'], ['4, 12', '30, 31'], 2],
    [
      'a deferrable exclusion',
      'EXCLUDE USING gist (int4range(x, y) WITH &&) DEFERRABLE',
      ['1, 5', '10, 20'],
      ['4, 12', '30, 31'],
      2,
    ],
    ['on a generated column', 'z int GENERATED ALWAYS AS (x + y) STORED UNIQUE', ['1, 2', '5, 5'], ['2, 1', '6, 6'], 1],
  ])('trap 26: %s', (_kind, constraint, ofA, ofB, lost, index = '') =>
    withNodes(
      `CREATE TABLE t (id int PRIMARY KEY, x int, y int${constraint && `, ${constraint}`}); ${index}`,
      async (a, b) => {
        for (const [i, values] of ofA.entries()) await a!.sql(`INSERT INTO t (id, x, y) VALUES (${i + 1}, ${values})`);
        for (const [i, values] of ofB.entries()) await b!.sql(`INSERT INTO t (id, x, y) VALUES (${i + 11}, ${values})`);
        await together(a!, b!);
        expect((await parked(a!)).length).toBe(lost);
        await b!.sql('DELETE FROM t WHERE id > 10');
        await together(a!, b!);
        expect(await a!.sql('SELECT id FROM t ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }]);
      },
    ),
  );

  it('trap 26: by a collation, in a partitioned table, under quoted names', () =>
    withNodes(
      `CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
       CREATE TABLE "My t" ("The id" int, "A ""name""" text COLLATE nocase, part int, PRIMARY KEY (part, "The id"), UNIQUE (part, "A ""name""")) PARTITION BY LIST (part);
       CREATE TABLE "My t 1" PARTITION OF "My t" FOR VALUES IN (1); CREATE TABLE "My t 2" PARTITION OF "My t" FOR VALUES IN (2)`,
      async (a, b) => {
        await a!.sql(`INSERT INTO "My t" VALUES (1, 'key', 1), (2, 'key', 2)`);
        await b!.sql(`INSERT INTO "My t" VALUES (3, 'KEY', 1), (4, 'other', 2)`);
        await together(a!, b!);
        expect((await parked(b!)).map((row) => (row as { key: unknown }).key)).toEqual([{ part: '1', 'The id': '1' }]);
      },
    ));

  it('a write to a key that is parked covers the parked row; a delete finds nothing to delete', () =>
    withNodes(users, async (a, b) => {
      await a!.sql(`INSERT INTO users VALUES (1, 'x', NULL)`);
      await b!.sql(`INSERT INTO users VALUES (2, 'x', NULL)`);
      await together(a!, b!);
      await a!.sql('DELETE FROM users WHERE id = 1');
      await together(a!, b!);
      expect((await parked(a!)).length).toBe(1);
      await b!.sql(`INSERT INTO users VALUES (1, 'new', NULL)`);
      await together(a!, b!);
      expect(await a!.sql('SELECT id, mail FROM users ORDER BY id')).toEqual([
        { id: 1, mail: 'new' },
        { id: 2, mail: 'x' },
      ]);
      expect(await parked(a!)).toEqual([]);
    }));

  it('a node that has no such constraint shows both, and sends on what it shows', () =>
    withNodes(
      users,
      async (a, b, c) => {
        await b!.sql('ALTER TABLE users DROP CONSTRAINT users_mail_key');
        await a!.sql(`INSERT INTO users VALUES (1, 'x', NULL)`);
        await c!.sql(`INSERT INTO users VALUES (2, 'x', NULL)`);
        await settle(a!, b!, c!);
        expect(await b!.sql('SELECT id FROM users ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }]);
        for (const node of [a!, c!]) expect(await node.sql('SELECT id FROM users')).toEqual([{ id: 2 }]);
      },
      3,
    ));
});

const family = `
  CREATE TABLE parents (id int PRIMARY KEY, name text);
  CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents ON DELETE CASCADE, other int REFERENCES children DEFERRABLE INITIALLY DEFERRED);
  CREATE TABLE toys (id int PRIMARY KEY, child int NOT NULL REFERENCES children)`;

describe('Rows that refer to others', () => {
  it('trap 25: a child whose parent was deleted elsewhere is parked with all that refers to it, and is back with the parent', () =>
    withNodes(family, async (a, b) => {
      await a!.sql(`INSERT INTO parents VALUES (1, 'p'); INSERT INTO children VALUES (1, 1, NULL)`);
      await together(a!, b!);
      await a!.sql('DELETE FROM parents');
      await b!.sql('INSERT INTO children VALUES (2, 1, 1); INSERT INTO toys VALUES (1, 2)');
      await together(a!, b!);
      for (const table of ['parents', 'children', 'toys']) expect(await rowsOf(b!, table)).toEqual([]);
      expect((await parked(a!)).map((row) => row as { table: string; waits_for: unknown })).toEqual([
        expect.objectContaining({ table: 'public.children', reason: 'reference' }),
        expect.objectContaining({
          table: 'public.toys',
          constraint: 'toys_child_fkey',
          waits_for: { table: 'public.children', key: { id: '2' } },
        }),
      ]);
      await b!.sql(`INSERT INTO parents VALUES (1, 'again'); INSERT INTO children VALUES (1, 1, NULL)`);
      await together(a!, b!);
      expect(await parked(a!)).toEqual([]);
      expect(await a!.sql('SELECT id FROM children ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }]);
      expect(await a!.sql('SELECT id FROM toys')).toEqual([{ id: 1 }]);
    }));

  it('trap 25: a child that comes before its parent waits, through nodes that cannot show it', () =>
    withNodes(
      `CREATE TABLE parents (id int PRIMARY KEY); CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents)`,
      async (a, b, c) => {
        await a!.sql('INSERT INTO parents VALUES (1)');
        await settle(a!, b!);
        await b!.sql('INSERT INTO children SELECT i, 1 FROM generate_series(1, 50) AS i');
        // The parent has not come: as from a node that took it from elsewhere.
        await c!.sql('ALTER TABLE children DROP CONSTRAINT children_parent_fkey');
        await pull(b!, c!);
        await c!.sql('DELETE FROM parents; ALTER TABLE children ADD FOREIGN KEY (parent) REFERENCES parents NOT VALID');
        await c!.store.keepUp();
        await pull(c!, a!);
        expect(await a!.sql('SELECT FROM children')).toEqual([]);
        expect((await parked(a!)).length).toBe(50);
        await a!.sql('INSERT INTO parents VALUES (1)');
        await a!.store.settleParked();
        expect((await a!.sql('SELECT FROM children')).length).toBe(50);
      },
      3,
    ));

  it('trap 25: rows that refer to each other in a circle stand together, or not at all', () =>
    withNodes(
      `CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE r (id int PRIMARY KEY, next int REFERENCES r DEFERRABLE INITIALLY DEFERRED, p int REFERENCES p)`,
      async (a, b) => {
        await a!.sql('INSERT INTO p VALUES (1); INSERT INTO r VALUES (1, 2, NULL), (2, 3, NULL), (3, 1, 1)');
        await together(a!, b!);
        expect((await b!.sql('SELECT FROM r')).length).toBe(3);
        await a!.sql('UPDATE r SET p = NULL; DELETE FROM p');
        await b!.sql('UPDATE r SET p = 1 WHERE id = 2');
        await together(a!, b!);
        expect(await rowsOf(a!, 'r')).toEqual([]);
        expect((await parked(a!)).length).toBe(3);
        await a!.sql('INSERT INTO p VALUES (1)');
        await together(a!, b!);
        expect((await b!.sql('SELECT FROM r')).length).toBe(3);
      },
    ));

  it.each(['NO ACTION', 'RESTRICT', 'CASCADE', 'SET NULL', 'SET DEFAULT'])(
    'traps 24, 25: ON DELETE %s did what it did where it was; who came late is parked',
    (action) =>
      withNodes(
        `CREATE TABLE p (a int, b int, PRIMARY KEY (b, a)); CREATE TABLE c (id int PRIMARY KEY, x int DEFAULT 0, y int DEFAULT 0, FOREIGN KEY (x, y) REFERENCES p (a, b) ON DELETE ${action})`,
        async (a, b) => {
          await a!.sql('INSERT INTO p VALUES (0, 0), (1, 2); INSERT INTO c VALUES (1, 1, 2)');
          await together(a!, b!);
          if (/NO|RESTRICT/.test(action)) await a!.sql('DELETE FROM c');
          await a!.sql('DELETE FROM p WHERE a = 1');
          await b!.sql('INSERT INTO c VALUES (2, 1, 2), (3, 0, 0), (4, NULL, 2)');
          await together(a!, b!);
          const left = await a!.sql<{ id: number }>('SELECT id FROM c ORDER BY id');
          expect(left.map(({ id }) => id)).toEqual(action.startsWith('SET') ? [1, 3, 4] : [3, 4]);
          expect((await parked(b!)).length).toBe(1);
          await b!.sql('INSERT INTO p VALUES (1, 2)');
          await together(a!, b!);
          expect(await parked(b!)).toEqual([]);
        },
      ),
  );

  it('trap 25: to unique columns that are not the primary key, and that are taken from under their children', () =>
    withNodes(
      `CREATE TABLE p (id int PRIMARY KEY, code text UNIQUE); CREATE TABLE c (id int PRIMARY KEY, code text REFERENCES p (code) ON UPDATE CASCADE)`,
      async (a, b) => {
        await a!.sql(`INSERT INTO p VALUES (1, 'x')`);
        await together(a!, b!);
        await a!.sql(`UPDATE p SET code = 'y'`);
        await b!.sql(`INSERT INTO c VALUES (1, 'x')`);
        await together(a!, b!);
        expect(await rowsOf(a!, 'c')).toEqual([]);
        await b!.sql(`INSERT INTO p VALUES (2, 'x')`);
        await together(a!, b!);
        expect((await a!.sql('SELECT FROM c')).length).toBe(1);
        // The newer row takes the key, and the children with it: it is a key that they refer to, not a row.
        await a!.sql(`INSERT INTO p VALUES (3, 'z')`);
        await b!.sql(`INSERT INTO p VALUES (4, 'z'); INSERT INTO c VALUES (2, 'z')`);
        await together(a!, b!);
        expect((await a!.sql('SELECT FROM c')).length).toBe(2);
        expect((await parked(a!)).length).toBe(1);
      },
    ));

  it('a row that waits for its parent holds its keys', () =>
    withNodes(
      `CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p, mail text UNIQUE)`,
      async (a, b) => {
        await a!.sql('INSERT INTO p VALUES (1)');
        await together(a!, b!);
        await a!.sql(`INSERT INTO c VALUES (1, NULL, 'x'); DELETE FROM p`);
        await b!.sql(`INSERT INTO c VALUES (2, 1, 'x')`);
        await together(a!, b!);
        expect(await rowsOf(a!, 'c')).toEqual([]);
        expect((await parked(a!)).length).toBe(2);
        await a!.sql('INSERT INTO p VALUES (1)');
        await together(a!, b!);
        expect(await b!.sql('SELECT id FROM c')).toEqual([{ id: 2 }]);
      },
    ));

  it('a table that is not shared keeps its parents: the window is refused, and says so', () =>
    withNodes(family.replace('REFERENCES children)', 'REFERENCES children)'), async (a, b) => {
      await a!.sql('INSERT INTO parents VALUES (1)');
      await together(a!, b!);
      await b!.sql(
        'CREATE TABLE private (id int PRIMARY KEY, parent int REFERENCES parents); INSERT INTO private VALUES (1, 1)',
      );
      await b!.store.keepUp();
      await a!.sql('DELETE FROM parents');
      await expect(pull(a!, b!)).rejects.toMatchObject({
        code: 'invalid_value',
        message: expect.stringContaining('private_parent_fkey'),
      });
      await b!.sql('DELETE FROM private');
      await pull(a!, b!);
      expect(await rowsOf(b!, 'parents')).toEqual([]);
    }));
});

describe('Rows that a table does not take', () => {
  it('trap 39: one in many is parked with the message, the rest goes on, and it is tried again when the table is altered', () =>
    withNodes(`CREATE TABLE t (id int PRIMARY KEY, x int, y text)`, async (a, b) => {
      await b!.sql('ALTER TABLE t ADD CONSTRAINT positive CHECK (x > 0), ALTER y SET NOT NULL');
      await b!.store.keepUp();
      await a!.sql(
        `INSERT INTO t SELECT i, CASE WHEN i = 7000 THEN -1 ELSE 1 END, CASE WHEN i <> 9000 THEN 'y' END FROM generate_series(1, 10000) AS i`,
      );
      await pull(a!, b!);
      expect(await b!.sql('SELECT count(*)::int AS n FROM t')).toEqual([{ n: 9998 }]);
      expect(await parked(b!)).toEqual([
        expect.objectContaining({ key: { id: '7000' }, reason: 'refused', constraint: 'positive' }),
        expect.objectContaining({ key: { id: '9000' }, reason: 'refused', constraint: null }),
      ]);
      await b!.sql('ALTER TABLE t DROP CONSTRAINT positive');
      await b!.store.keepUp();
      await b!.store.settleParked();
      expect((await parked(b!)).length).toBe(1);
      await a!.sql(`UPDATE t SET y = 'there' WHERE id = 9000`);
      await together(a!, b!);
      expect(await parked(b!)).toEqual([]);
    }));

  it('trap 39: is tried again by itself after NOT NULL, a domain or a trigger has let go of it', () =>
    withNodes(`CREATE DOMAIN short AS text; CREATE TABLE t (id int PRIMARY KEY, a short, b text)`, async (a, b) => {
      await b!
        .sql(`ALTER DOMAIN short ADD CONSTRAINT four CHECK (length(value) < 4); ALTER TABLE t ALTER b SET NOT NULL;
        CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id = 3 THEN RAISE EXCEPTION 'not three'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no(); ALTER TABLE t ENABLE ALWAYS TRIGGER no`);
      await a!.sql(`INSERT INTO t VALUES (1, 'a', NULL), (2, 'long', 'b'), (3, 'a', 'b')`);
      await pull(a!, b!);
      for (const [id, statement] of [
        [1, 'ALTER TABLE t ALTER b DROP NOT NULL'],
        [2, 'ALTER DOMAIN short DROP CONSTRAINT four'],
        [3, 'ALTER TABLE t DISABLE TRIGGER no'],
      ] as const) {
        await b!.store.settleParked();
        expect(await parked(b!)).toHaveLength(4 - id);
        await b!.sql(statement);
        await b!.store.keepUp();
        for (let i = 0; i < 400 && (await b!.sql('SELECT FROM t')).length < id; i++) await sleep(25);
        expect(await b!.sql('SELECT id FROM t ORDER BY id')).toHaveLength(id);
      }
    }));

  it('trap 39: domains, lengths, triggers that raise and values out of range', () =>
    withNodes(
      `CREATE DOMAIN short AS text; CREATE TABLE t (id int PRIMARY KEY, a short, b text, c numeric(9, 2))`,
      async (a, b) => {
        await b!
          .sql(`ALTER DOMAIN short ADD CHECK (length(value) < 4); ALTER TABLE t ALTER b TYPE varchar(5), ALTER c TYPE numeric(5, 2);
        CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id = 4 THEN RAISE EXCEPTION 'not four'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER no BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION no(); ALTER TABLE t ENABLE ALWAYS TRIGGER no`);
        await b!.store.keepUp();
        await a!.sql(
          `INSERT INTO t VALUES (1, 'long', 'b', 1), (2, 'a', 'much longer', 1), (3, 'a', 'b', 12345), (4, 'a', 'b', 1), (5, 'a', 'b', 1)`,
        );
        await pull(a!, b!);
        expect(await b!.sql('SELECT id FROM t')).toEqual([{ id: 5 }]);
        const { parked: all } = await b!.store.parked.list({ limit: 10 });
        expect(all.map(({ message }) => message).sort()).toEqual([
          'not four.',
          'numeric field overflow.',
          'value for domain public.short violates check constraint "short_check".',
          'value too long for type character varying(5).',
        ]);
      },
    ));
});

describe('A parked row', () => {
  it('is discarded or changed by an ordinary write, which travels', () =>
    withNodes(users, async (a, b) => {
      await a!.sql(`INSERT INTO users VALUES (1, 'x', '1'), (3, 'y', '3')`);
      await b!.sql(`INSERT INTO users VALUES (2, 'x', '2'), (4, 'y', '4')`);
      await together(a!, b!);
      const { parked: all } = await b!.store.parked.list({ limit: 10 });
      expect(await b!.store.parked.count()).toEqual({ 'public.users': 2 });
      const idOf = (id: string) => all.find(({ key }) => key.id === id)!.id;
      await b!.store.parked.discard(idOf('1'));
      await expect(b!.store.parked.change(idOf('3'), { mail: 'y' })).rejects.toMatchObject({ code: 'invalid_value' });
      await b!.store.parked.change(idOf('3'), { mail: 'z' });
      await expect(b!.store.parked.change(idOf('3'), { mail: 'q' })).rejects.toMatchObject({ code: 'not_found' });
      await together(a!, b!);
      expect(await parked(a!)).toEqual([]);
      expect(await a!.sql('SELECT id, mail FROM users ORDER BY id')).toEqual([
        { id: 2, mail: 'x' },
        { id: 3, mail: 'z' },
        { id: 4, mail: 'y' },
      ]);
    }));

  it('is listed in pages', () =>
    withNodes(users, async (a, b) => {
      await a!.sql(`INSERT INTO users SELECT i, i FROM generate_series(1, 7) AS i`);
      await b!.sql(`INSERT INTO users SELECT i + 10, i FROM generate_series(1, 7) AS i`);
      await together(a!, b!);
      const keys: string[] = [];
      let cursor: string | undefined;
      do {
        const page = await a!.store.parked.list({ table: 'users', limit: 3, cursor });
        keys.push(...page.parked.map(({ key }) => key.id!));
        cursor = page.cursor ?? undefined;
      } while (cursor);
      expect(keys.sort()).toEqual(['1', '2', '3', '4', '5', '6', '7']);
      await expect(a!.store.parked.list({ limit: 3, cursor: 'x' })).rejects.toMatchObject({ code: 'bad_cursor' });
    }));

  it('is named before pgmesh is taken out of the database, as are versions of conflicts', () =>
    withNodes(users, async (a, b) => {
      await a!.sql(`INSERT INTO users VALUES (1, 'x', '1'), (3, 'of a', '3')`);
      await b!.sql(`INSERT INTO users VALUES (2, 'x', '2'), (3, 'of b', '3')`);
      await together(a!, b!);
      const losing = jest.fn();
      await detach(a!.db.url, losing);
      expect(losing).toHaveBeenCalledWith([{ table: 'public.users', parked: 1, versions: 1 }]);
    }));

  it('returns by itself after a local write', () =>
    withNodes(users, async (a, b) => {
      await a!.sql(`INSERT INTO users VALUES (1, 'x', NULL)`);
      await b!.sql(`INSERT INTO users VALUES (2, 'x', NULL)`);
      await settle(a!, b!);
      const told: unknown[] = [];
      a!.store.onParking(({ returned }) => told.push(...returned.map(({ key }) => key)));
      await a!.sql('DELETE FROM users');
      // Told after the commit that others see already.
      for (let i = 0; i < 2000 && told.length === 0; i++) await sleep(25);
      expect(told).toEqual([{ id: '1' }]);
      expect(await a!.sql('SELECT id FROM users')).toEqual([{ id: 1 }]);
    }));

  it('keeps its table in sharing, and its key as it is', () =>
    withNodes(users, async (a, b) => {
      await a!.sql(`INSERT INTO users VALUES (1, 'x', NULL)`);
      await b!.sql(`INSERT INTO users VALUES (2, 'x', NULL); CREATE TABLE other (id int PRIMARY KEY)`);
      await settle(a!, b!);
      await expect(openStore(b!.db, 'b', ['other'])).rejects.toThrow(
        /users is no longer to be shared, and 1 of its rows/,
      );
      await b!.sql('ALTER TABLE users DROP CONSTRAINT users_pkey, ALTER mail SET NOT NULL, ADD PRIMARY KEY (id, mail)');
      await expect(openStore(b!.db, 'b', ['users'])).rejects.toThrow(
        /primary key .* DELETE FROM p2p.parked WHERE table_id = 1/,
      );
      await b!.sql('DELETE FROM p2p.parked');
      const reopened = await openStore(b!.db, 'b', ['users']);
      expect(reopened.tables()).toEqual(['public.users']);
      await reopened.close();
    }));
});
