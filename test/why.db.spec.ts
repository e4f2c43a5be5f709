import { parseRules, type Resolver, type Rules } from '@pgmesh/core';
import type { StoreOptions, WhyView } from '@pgmesh/store';
import { pull, settle, type StoreNode, storeNode } from './support/store-node';

const schema = `CREATE TABLE t (id int PRIMARY KEY, name text, qty int, doc jsonb, CHECK (name <> 'both' OR qty <> 2));
  CREATE TABLE pairs (a int, b text, PRIMARY KEY (a, b))`;

function rulesOf(text: string): Rules {
  const outcome = parseRules(text);
  if (!outcome.ok) throw new Error(outcome.problems.join('\n'));
  return outcome.rules;
}

/** Nodes that share the tables and go by the same rules, ended together. */
async function nodes(ids: string, told = 'last-write-wins', options: Partial<StoreOptions> = {}) {
  const rules = rulesOf(told);
  const made = await Promise.all(
    [...ids].map((id, i) => storeNode(id, schema, ['*'], { rules, priority: -i, ...options })),
  );
  return Object.assign(made as [StoreNode, StoreNode, StoreNode], {
    [Symbol.asyncDispose]: async () => void (await Promise.all(made.map((node) => node[Symbol.asyncDispose]()))),
  });
}

const why = ({ store }: StoreNode, id = 1): Promise<WhyView> => store.why(store.find('t')!, [String(id)]);

/** The row that all have, and then a write of each that no other has seen. */
async function disagree(made: readonly StoreNode[], ...writes: string[]): Promise<void> {
  await made[0]!.sql(`INSERT INTO t VALUES (1, 'first', 1, '{"k": 1, "l": 1, "m": 1}')`);
  await settle(...made);
  for (const [i, write] of writes.entries()) await made[i]!.sql(write);
  await settle(...made);
}

/** Which node each column is of, and each key that is of another. */
function writers({ columns }: WhyView): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(columns).map(([column, { write, keys }]) => {
      const of = write?.node_id ?? null;
      if (!keys) return [column, of];
      return [column, [of, Object.fromEntries(Object.entries(keys).map(([key, { node_id }]) => [key, node_id]))]];
    }),
  );
}

const setName = (name: string) => `UPDATE t SET name = '${name}'`;
const nameOf = async ({ sql }: StoreNode) => (await sql<{ name: string }>('SELECT name FROM t'))[0]?.name;

describe('Why a row is as it is', () => {
  it('names the write of a row that nobody disputes, and the peer that brought it', async () => {
    await using made = await nodes('abc');
    const [a, b, c] = made;
    await a.sql(`INSERT INTO t VALUES (1, 'first', 1)`);
    await pull(a, b);
    await pull(b, c);
    const { origin } = a.store.identity;
    const written = await why(a);
    const { stamp } = written.version;
    const write = { stamp, origin, node_id: 'a', at: new Date(stamp / 1000).toISOString() };
    expect(written).toEqual({
      table: 'public.t',
      key: { id: '1' },
      deleted: false,
      parked: null,
      version: { ...write, priority: 0, vector: { [origin]: stamp } },
      via: null,
      composed: false,
      rule: { strategy: 'last-write-wins', resolver: null, prefix: null },
      decided_by: 'last-write-wins',
      open: false,
      reason: 'Nothing that is known is concurrent with it.',
      columns: { id: { write }, name: { write }, qty: { write }, doc: { write } },
      against: [],
      covered: [],
      conflicts: [],
    });
    expect(await why(c)).toEqual({ ...written, via: 'b' });
  });

  it.each([
    ['last-write-wins', 'c', /the last of 3/, false],
    ['first-write-wins', 'a', /the first of 3/, false],
    ['node-priority', 'a', /highest priority \(0\) of 3/, false],
    ['manual', 'c', /people.*until somebody decides/, true],
  ])('under %s it stands against the others, whole, on every node', async (strategy, winner, reason, open) => {
    await using made = await nodes('abc', strategy);
    await disagree(made, setName('of a'), setName('of b'), setName('of c'));
    for (const node of made) {
      const told = await why(node);
      expect(told).toMatchObject({ version: { node_id: winner }, composed: false, open, rule: { strategy } });
      expect(told.decided_by).toBe(open ? 'last-write-wins' : strategy);
      expect(told.reason).toMatch(reason);
      expect(new Set(Object.values(writers(told)))).toEqual(new Set([winner]));
      const others = ['c', 'b', 'a'].filter((id) => id !== winner);
      expect(told.against.map(({ node_id, row }) => [node_id, row!.name])).toEqual(
        others.map((id) => [id, `of ${id}`]),
      );
      expect(told.conflicts).toHaveLength(1);
      expect(await nameOf(node)).toBe(`of ${winner}`);
    }
  });

  it('under merge-fields it names the writer of each column and key, before and after a write over them all', async () => {
    await using made = await nodes('abc', 'merge-fields');
    const [a, b, c] = made;
    await disagree(
      made,
      `UPDATE t SET name = 'of a', doc = doc || '{"k": 2}'`,
      `UPDATE t SET qty = 5`,
      `UPDATE t SET doc = doc || '{"l": 2, "new": 3}'`,
    );
    for (const node of made) {
      const told = await why(node);
      expect(told).toMatchObject({ composed: true, decided_by: 'merge-fields', open: false, deleted: false });
      expect(told.against.map(({ node_id }) => node_id)).toEqual(['c', 'b', 'a']);
      const { doc, ...others } = writers(told);
      expect(others).toEqual({ id: 'a', name: 'a', qty: 'b' });
      expect(doc).toEqual(['c', { k: 'a', m: 'a' }]);
    }
    const { against: set } = await why(b);
    const { k, m } = (await why(b)).columns.doc!.keys!;
    expect(k!.stamp).toBeGreaterThan(m!.stamp);
    await b.sql(`UPDATE t SET doc = doc || '{"l": 9}'`);
    const own = await why(b);
    await settle(a, b, c);
    for (const node of made) {
      const told = await why(node);
      expect(told).toMatchObject({ version: own.version, composed: false, open: false, against: [] });
      expect(writers(told)).toEqual({ id: 'a', name: 'a', qty: 'b', doc: ['b', { k: 'a', m: 'a', new: 'c' }] });
      expect(told.columns).toEqual(own.columns);
      expect(told.covered.map(({ stamp }) => stamp).sort()).toEqual(set.map(({ stamp }) => stamp).sort());
    }
  });

  it('of what a resolver made the values that nobody wrote have no write, and the resolver is not asked again', async () => {
    const asked: string[] = [];
    const joined: Resolver = (_key, { value: a }, { value: b }) => {
      asked.push('');
      return a && b && { ...b, name: `${a.name} and ${b.name}` };
    };
    await using made = await nodes('ab', 'custom(joined)', { resolvers: { joined } });
    await disagree(made, setName('a'), `UPDATE t SET name = 'b', qty = 7`);
    const before = asked.length;
    for (const node of made) {
      const told = await why(node);
      expect(told).toMatchObject({ composed: true, decided_by: 'custom', rule: { resolver: 'joined' }, open: false });
      expect(writers(told)).toEqual({ id: 'b', name: null, qty: 'b', doc: 'b' });
      expect(told.reason).toBe('The resolver made it of 2 concurrent versions.');
      expect(await nameOf(node)).toBe('a and b');
    }
    expect(asked).toHaveLength(before);
  });

  it('of a composed row that the table does not take it says what the table said', async () => {
    await using made = await nodes('ab', 'merge-fields');
    await disagree(made, setName('both'), `UPDATE t SET qty = 2`);
    for (const node of made) {
      const told = await why(node);
      expect(told).toMatchObject({
        composed: false,
        open: true,
        decided_by: 'last-write-wins',
        version: { node_id: 'b' },
      });
      expect(told.reason).toMatch(/does not take the row that the rule makes: .*check.*until somebody decides/);
      expect(told.against.map(({ node_id }) => node_id)).toEqual(['a']);
    }
  });

  it('names what the last write has ended, at once, and on every node', async () => {
    await using made = await nodes('ab', 'manual');
    const [a, b] = made;
    await disagree(made, setName('of a'), setName('of b'));
    await a.sql(setName('decided'));
    const ended = await why(a);
    expect(ended).toMatchObject({ open: false, against: [], version: { node_id: 'a' } });
    expect(ended.covered.map(({ row }) => row!.name)).toEqual(expect.arrayContaining(['of a', 'of b']));
    await settle(a, b);
    expect((await why(b)).covered.map(({ stamp }) => stamp).sort()).toEqual(
      ended.covered.map(({ stamp }) => stamp).sort(),
    );
    await a.store.keepUp();
    await b.sql(setName('later'));
    expect(await why(b)).toMatchObject({ covered: [], conflicts: [expect.any(Number)] });
  });

  it('goes by the rules that hold now', async () => {
    await using made = await nodes('ab');
    const [a] = made;
    await disagree(made, setName('of a'), setName('of b'));
    expect((await why(a)).version.node_id).toBe('b');
    await a.store.setRules(rulesOf('first-write-wins'));
    expect(await why(a)).toMatchObject({ decided_by: 'first-write-wins', version: { node_id: 'a' } });
    expect(await nameOf(a)).toBe('of a');
  });

  it('is told of deletions, and not of rows that never were', async () => {
    await using made = await nodes('ab');
    const [a, b] = made;
    await disagree(made, setName('of a'), 'DELETE FROM t');
    for (const node of made) {
      const told = await why(node);
      expect(told).toMatchObject({ deleted: true, version: { node_id: 'b' }, columns: {} });
      expect(told.against.map(({ row }) => row!.name)).toEqual(['of a']);
    }
    await expect(why(a, 2)).rejects.toMatchObject({ code: 'not_found', status: 404 });
    const pairs = b.store.find('pairs')!;
    await expect(b.store.why(pairs, ['1', 'x'])).rejects.toMatchObject({ code: 'not_found' });
  });

  it('trap 32: is told while columns come and go', async () => {
    await using made = await nodes('a');
    const [a] = made;
    await a.sql(`INSERT INTO t VALUES (1, 'first', 1)`);
    const shape = a.store.find('t')!;
    await a.sql('ALTER TABLE t ADD more text, DROP doc');
    expect(Object.keys((await a.store.why(shape, ['1'])).columns).sort()).toEqual(['id', 'more', 'name', 'qty']);
    await a.sql('ALTER TABLE t DROP CONSTRAINT t_pkey, ALTER qty SET NOT NULL, ADD PRIMARY KEY (id, qty)');
    await expect(a.store.why(shape, ['1'])).rejects.toMatchObject({ code: 'busy' });
    await a.sql('ALTER TABLE t RENAME TO other');
    await expect(a.store.why(shape, ['1'])).rejects.toMatchObject({ code: 'not_found' });
  });
});
