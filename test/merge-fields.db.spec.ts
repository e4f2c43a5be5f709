import { type Fields, fieldsOfWrite, parseRules, type RowImage, type Rules, type StampedRow } from '@pgmesh/core';
import fc from 'fast-check';
import { expectEqual, openStore, pull, settle, type StoreNode, storeNode } from './support/store-node';

function rules(text: string): Rules {
  const outcome = parseRules(text);
  if (!outcome.ok) throw new Error(outcome.problems.join('\n'));
  return outcome.rules;
}

const mergeFields = { rules: rules('merge-fields') };
const schema = `CREATE TABLE t (id int PRIMARY KEY, name text, qty numeric, doc jsonb, tags text[])`;

interface Row {
  id: number;
  name: string | null;
  qty: string | null;
  doc: unknown;
  tags: string[] | null;
}

const rowsOf = ({ sql }: StoreNode) => sql<Row>('SELECT * FROM t ORDER BY id');
const metaOf = ({ sql, store }: StoreNode) =>
  sql<{ stamp: string; origin: string; fields: Fields | null; siblings: unknown[] | null; deleted: boolean }>(
    `SELECT stamp, origin, fields, siblings, deleted FROM ${store.find('t')!.meta} ORDER BY key1`,
  );

async function nodes(ids: readonly string[], told = mergeFields): Promise<StoreNode[]> {
  const all = await Promise.all(ids.map((id) => storeNode(id, schema, ['t'], told)));
  await all[0]!.sql(`INSERT INTO t VALUES (1, 'first', 1, '{"a": 1, "b": {"c": 2}}', '{x}')`);
  await settle(...all);
  return all;
}

async function close(all: readonly StoreNode[]): Promise<void> {
  await Promise.all(all.map((node) => node[Symbol.asyncDispose]()));
}

async function settledEqual(all: readonly StoreNode[]): Promise<void> {
  await settle(...all);
  await expectEqual(...all);
}

describe('merge-fields', () => {
  it('keeps what three nodes changed in different columns and keys of one row', async () => {
    const all = await nodes(['a', 'b', 'c']);
    const [a, b, c] = all as [StoreNode, StoreNode, StoreNode];
    try {
      await a.sql(`UPDATE t SET name = 'of a', doc = doc || '{"a": 10}'`);
      await b.sql(`UPDATE t SET qty = 2.50, doc = jsonb_set(doc, '{b,c}', '3')`);
      await c.sql(`UPDATE t SET tags = '{y,z}', doc = doc || '{"new": [1, 2]}'`);
      await settledEqual(all);
      const merged = {
        id: 1,
        name: 'of a',
        qty: '2.50',
        tags: ['y', 'z'],
        doc: { a: 10, b: { c: 3 }, new: [1, 2] },
      };
      expect(await rowsOf(b)).toEqual([merged]);
      // The row is nobody's: all three versions are kept whole beside it.
      expect((await metaOf(a))[0]!.siblings).toHaveLength(3);

      // Whoever writes over it covers all three, and what was not changed keeps its writers.
      await b.sql(`UPDATE t SET name = 'of b, later'`);
      await settledEqual(all);
      expect(await rowsOf(c)).toEqual([{ ...merged, name: 'of b, later' }]);
      const [meta] = await metaOf(c);
      expect(meta!.siblings).toBeNull();
      const writer = (column: string) => (meta!.fields?.[column]?.at?.[1] ?? meta!.origin).split('~')[0];
      expect(['name', 'qty', 'tags'].map(writer)).toEqual(['b', 'b', 'c']);
      expect(meta!.fields!.name).toBeUndefined();

      // And so the next concurrent writes are merged by field again.
      await a.sql(`UPDATE t SET tags = '{}'`);
      await c.sql(`UPDATE t SET qty = 3`);
      await settledEqual(all);
      expect(await rowsOf(a)).toEqual([{ ...merged, name: 'of b, later', tags: [], qty: '3' }]);
    } finally {
      await close(all);
    }
  });

  it('lets an update stand against a delete, and a row stay deleted that all have deleted', async () => {
    const all = await nodes(['a', 'b']);
    const [a, b] = all as [StoreNode, StoreNode];
    try {
      await a.sql(`UPDATE t SET name = 'kept'`);
      await b.sql(`DELETE FROM t`);
      await settledEqual(all);
      expect((await rowsOf(b)).map(({ name }) => name)).toEqual(['kept']);
      await a.sql(`DELETE FROM t`);
      await b.sql(`DELETE FROM t`);
      await settledEqual(all);
      expect(await rowsOf(a)).toEqual([]);
    } finally {
      await close(all);
    }
  });

  it('keeps no field stamps on tables that do not use it', async () => {
    const all = await nodes(['a', 'b'], { rules: rules('last-write-wins, public.u=merge-fields') });
    try {
      await all[0]!.sql(`UPDATE t SET name = 'x'`);
      await settledEqual(all);
      expect((await metaOf(all[1]!)).map(({ fields }) => fields)).toEqual([null]);
      const source = await all[0]!.sql<{ prosrc: string }>(
        `SELECT prosrc FROM pg_proc WHERE proname ~ '^capture_' AND pronamespace = 'p2p'::regnamespace`,
      );
      expect(source.some(({ prosrc }) => /kept_keys|fields_of_write/.test(prosrc))).toBe(false);
    } finally {
      await close(all);
    }
  });

  it('stands by the last write where the table does not take the composed row, and says so', async () => {
    const all = await Promise.all(
      ['a', 'b'].map((id) =>
        storeNode(
          id,
          `CREATE TABLE t (id int PRIMARY KEY, low int, high int, CHECK (low <= high))`,
          ['t'],
          mergeFields,
        ),
      ),
    );
    const [a, b] = all as [StoreNode, StoreNode];
    try {
      await a.sql(`INSERT INTO t SELECT i, 1, 10 FROM generate_series(1, 50) AS i`);
      await settle(a, b);
      await a.sql(`UPDATE t SET high = 3 WHERE id % 10 = 0`);
      await a.sql(`UPDATE t SET high = 9 WHERE id % 10 <> 0`);
      await b.sql(`UPDATE t SET low = 5`);
      await settledEqual(all);
      expect(await a.sql(`SELECT low, high, count(*)::int AS n FROM t GROUP BY 1, 2 ORDER BY 3`)).toEqual([
        { low: 5, high: 10, n: 5 },
        { low: 5, high: 9, n: 45 },
      ]);
    } finally {
      await close(all);
    }
  });

  it('has the fields of rows that were written before it was chosen, and of rows without a version', async () => {
    const all = await nodes(['a', 'b'], { rules: rules('last-write-wins') });
    const [a, b] = all as [StoreNode, StoreNode];
    try {
      for (const { store } of all) await store.setRules(rules('merge-fields'));
      await a.sql(`UPDATE t SET name = 'of a'`);
      await b.sql(`UPDATE t SET qty = 7`);
      await settledEqual(all);
      expect((await rowsOf(a)).map(({ name, qty }) => [name, qty])).toEqual([['of a', '7']]);
    } finally {
      await close(all);
    }
  });

  it('brings the set, not the composed row, to a node that joins later', async () => {
    const all = await nodes(['a', 'b']);
    const [a, b] = all as [StoreNode, StoreNode];
    const c = await storeNode('c', schema, ['t'], mergeFields);
    try {
      await a.sql(`UPDATE t SET name = 'of a'`);
      await b.sql(`UPDATE t SET qty = 2`);
      await settle(a, b);
      await pull(b, c);
      await expectEqual(a, b, c);
      await c.sql(`UPDATE t SET tags = NULL`);
      await settledEqual([a, b, c]);
      expect((await metaOf(a))[0]!.siblings).toBeNull();
    } finally {
      await close([...all, c]);
    }
  });

  it('is left for another strategy, and taken up again, with the same rows on all nodes', async () => {
    const all = await nodes(['a', 'b', 'c']);
    const [a, b] = all as [StoreNode, StoreNode];
    try {
      await a.sql(`UPDATE t SET name = 'of a'`);
      await b.sql(`UPDATE t SET qty = 2`);
      await settledEqual(all);
      for (const told of ['first-write-wins', 'last-write-wins', 'merge-fields']) {
        for (const { store } of all) await store.setRules(rules(told));
        await settledEqual(all);
        const [row] = await rowsOf(a);
        expect([row!.name, row!.qty]).toEqual(
          { 'first-write-wins': ['of a', '1'], 'last-write-wins': ['first', '2'], 'merge-fields': ['of a', '2'] }[told],
        );
      }
    } finally {
      await close(all);
    }
  });
});

describe('Field stamps', () => {
  it('are what the core says, whatever is written', async () => {
    const node = await storeNode('a', schema, ['t'], mergeFields);
    const jsonb = new Set(['doc']);
    const value = fc.record(
      {
        name: fc.constantFrom(`'x'`, `'y'`, 'NULL'),
        qty: fc.constantFrom('1', '1.0', '1.00', 'NULL', `'NaN'`),
        doc: fc.constantFrom(
          `'{"a": 1}'`,
          `'{"a": 1.0, "b": 2}'`,
          `'{"b": 2, "constructor": null}'`,
          `'{}'`,
          `'[1]'`,
          'NULL',
          `doc || '{"c": {"d": 1}}'`,
          `doc - 'a'`,
        ),
        tags: fc.constantFrom(`'{}'`, `'{x}'`, 'NULL', `'[0:0]={x}'`),
      },
      { requiredKeys: [] },
    );
    const read = async (): Promise<StampedRow> => {
      const [row] = await node.sql<{ stamp: string; origin: string; fields: Fields | null; image: RowImage }>(
        `SELECT m.stamp, m.origin, m.fields, jsonb_object(ARRAY['id', 'name', 'qty', 'doc', 'tags'],
           ARRAY[t.id::text, t.name, t.qty::text, t.doc::text, t.tags::text]) AS image
         FROM ${node.store.find('t')!.meta} AS m JOIN t ON t.id = m.key1`,
      );
      return { ...row!, stamp: Number(row!.stamp) };
    };
    try {
      await fc.assert(
        fc.asyncProperty(fc.array(value, { minLength: 1, maxLength: 6 }), async (writes) => {
          await node.sql('DELETE FROM t');
          await node.sql(`INSERT INTO t VALUES (1, 'x', 1, '{"a": 1}', '{}')`);
          let shown = await read();
          expect(shown.fields).toBeNull();
          for (const write of writes) {
            const set = Object.entries(write).map(([column, sql]) => `${column} = ${sql}`);
            if (set.length === 0) continue;
            await node.sql(`UPDATE t SET ${set.join(', ')}`);
            const after = await read();
            const wanted = after.stamp === shown.stamp ? shown.fields : fieldsOfWrite(shown, after.image, jsonb);
            expect({ write, fields: after.fields }).toEqual({ write, fields: wanted });
            shown = after;
          }
        }),
        { numRuns: 60 },
      );
    } finally {
      await node[Symbol.asyncDispose]();
    }
  });

  it('of more columns than a function takes arguments', async () => {
    const columns = Array.from({ length: 130 }, (_, i) => `"c ${i}" int DEFAULT 0`);
    const wide = `CREATE TABLE t (id int PRIMARY KEY, ${columns.join(', ')})`;
    const all = await Promise.all(['a', 'b'].map((id) => storeNode(id, wide, ['t'], mergeFields)));
    const [a, b] = all as [StoreNode, StoreNode];
    try {
      await a.sql('INSERT INTO t (id) VALUES (1)');
      await settle(a, b);
      await a.sql('UPDATE t SET "c 3" = 1');
      await b.sql('UPDATE t SET "c 129" = 1');
      await settledEqual(all);
      expect(await a.sql('SELECT "c 3" + "c 129" AS sum FROM t')).toEqual([{ sum: 2 }]);
    } finally {
      await close(all);
    }
  });

  it('that cannot be are refused', async () => {
    const all = await nodes(['a', 'b']);
    const [a, b] = all as [StoreNode, StoreNode];
    const { meta } = a.store.find('t')!;
    try {
      for (const fields of [
        `{"name": {"at": [9007199254740991, "a~000000000000"]}}`,
        `{"name": {"at": [1, "x~000000000000"]}}`,
        `{"name": {"at": "1"}}`,
        `{"name": {"keys": {"a": [0, "a"]}}}`,
        `{"name": {}}`,
        `{"nothing": {"at": [1, "a"]}}`,
        `{"name": 5}`,
      ]) {
        await a.sql(`UPDATE ${meta} SET fields = $1, stamp = stamp + 1, xid = pg_current_xact_id()`, [fields]);
        await expect(pull(a, b)).rejects.toMatchObject({ code: 'invalid_version' });
      }
    } finally {
      await close(all);
    }
  });
});

describe('custom', () => {
  const stock = (_key: readonly string[], a: { value: RowImage | null }, b: { value: RowImage | null }) =>
    a.value && b.value && { ...b.value, qty: String(Number(a.value.qty) + Number(b.value.qty)) };

  it('folds a function over the versions, and every node has what it made', async () => {
    const all = await nodes(['a', 'b', 'c'], {
      rules: rules('custom(stock)'),
      resolvers: { stock },
    } as typeof mergeFields);
    try {
      for (const [i, { sql }] of all.entries()) await sql(`UPDATE t SET qty = ${i + 1}, name = 'n${i}'`);
      await settledEqual(all);
      expect((await rowsOf(all[0]!)).map(({ qty, name }) => [qty, name])).toEqual([['6', 'n2']]);
      await all[2]!.sql(`UPDATE t SET qty = qty + 1`);
      await settledEqual(all);
      expect((await rowsOf(all[1]!)).map(({ qty }) => qty)).toEqual(['7']);
    } finally {
      await close(all);
    }
  });

  it('may write values otherwise than the table prints them: nodes at rest exchange nothing', async () => {
    const told = {
      rules: rules('custom'),
      resolvers: { default: () => ({ id: '1', name: 'n', qty: '0001.50', doc: '{"b":1,"a":2}', tags: '{ x , y }' }) },
    };
    const all = await nodes(['a', 'b'], told as typeof mergeFields);
    const [a, b] = all as [StoreNode, StoreNode];
    try {
      for (const { sql, id } of all) await sql(`UPDATE t SET name = '${id}'`);
      await settledEqual(all);
      expect(await rowsOf(a)).toMatchObject([{ qty: '1.50', doc: { a: 2, b: 1 }, tags: ['x', 'y'] }]);
      await settle(a, b);
      expect([await pull(a, b), await pull(b, a)]).toEqual([0, 0]);
    } finally {
      await close(all);
    }
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('no idea');
      },
    ],
    [
      'hangs',
      () => {
        for (;;);
      },
    ],
    ['returns a promise', async () => null],
    [
      'returns a value that the column cannot have',
      (_k: unknown, a: { value: RowImage }) => ({ ...a.value, qty: 'many' }),
    ],
    ['changes the key', (_k: unknown, a: { value: RowImage }) => ({ ...a.value, id: '2' })],
  ])('one that %s leaves the last write standing, and the sync goes on', async (_what, resolver) => {
    const told = { rules: rules('custom'), resolvers: { default: resolver }, resolverTimeout: 100 };
    const all = await nodes(['a', 'b'], told as unknown as typeof mergeFields);
    const [a, b] = all as [StoreNode, StoreNode];
    try {
      await a.sql(`INSERT INTO t SELECT i, 'a', 1, '{}', '{}' FROM generate_series(10, 60) AS i`);
      await b.sql(`INSERT INTO t SELECT i, 'b', 1, '{}', '{}' FROM generate_series(10, 60) AS i`);
      await a.sql(`INSERT INTO t VALUES (1000, 'other')`);
      await settledEqual(all);
      expect(await b.sql(`SELECT name, count(*)::int AS n FROM t GROUP BY 1 ORDER BY 1`)).toEqual([
        { name: 'b', n: 51 },
        { name: 'first', n: 1 },
        { name: 'other', n: 1 },
      ]);
    } finally {
      await close(all);
    }
  });

  it('is asked again at the next start: what stands is what the present function makes', async () => {
    const all = await nodes(['a', 'b'], {
      rules: rules('custom(stock)'),
      resolvers: {
        stock: () => {
          throw new Error();
        },
      },
    } as unknown as typeof mergeFields);
    const [a, b] = all as [StoreNode, StoreNode];
    try {
      await a.sql(`UPDATE t SET qty = 2`);
      await b.sql(`UPDATE t SET qty = 3`);
      await settledEqual(all);
      const again: StoreNode[] = [];
      for (const node of all) {
        await node.store.close();
        const store = await openStore(node.db, node.id, ['t'], { rules: rules('custom(stock)'), resolvers: { stock } });
        again.push({ db: node.db, id: node.id, sql: node.sql, store, [Symbol.asyncDispose]: () => store.close() });
      }
      await settledEqual(again);
      expect((await rowsOf(a)).map(({ qty }) => qty)).toEqual(['5']);
      await close(again);
    } finally {
      await Promise.all(all.map(({ db }) => db[Symbol.asyncDispose]()));
    }
  });

  it('that nobody has registered is refused by name, at the start and at run time', async () => {
    await expect(storeNode('a', schema, ['t'], { rules: rules('custom(nobody)') })).rejects.toThrow('nobody');
    const node = await storeNode('a', schema, ['t']);
    try {
      await expect(node.store.setRules(rules('custom(nobody)'))).rejects.toMatchObject({ code: 'invalid_rules' });
      expect(node.store.rules).toEqual(rules('last-write-wins'));
    } finally {
      await node[Symbol.asyncDispose]();
    }
  });
});

describe('Rules set at run time', () => {
  it('are in force after a restart, until others are configured', async () => {
    const node = await storeNode('a', schema, ['t']);
    const reopen = async (told: string) => {
      const store = await openStore(node.db, 'a', ['t'], { rules: rules(told) });
      const { rules: found } = store;
      await store.close();
      return found;
    };
    try {
      await node.store.setRules(rules('manual'));
      await node.store.close();
      expect(await reopen('last-write-wins')).toEqual(rules('manual'));
      expect(await reopen('node-priority')).toEqual(rules('node-priority'));
      expect(await reopen('last-write-wins')).toEqual(rules('last-write-wins'));
    } finally {
      await node.db[Symbol.asyncDispose]();
    }
  });
});
