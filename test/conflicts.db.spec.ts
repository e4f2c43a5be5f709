import { parseRules, type Rules } from '@pgmesh/core';
import type { ConflictView, StoreOptions } from '@pgmesh/store';
import { expectEqual, openStore, pull, settle, type StoreNode, storeNode } from './support/store-node';

function rules(text: string): Rules {
  const outcome = parseRules(text);
  if (!outcome.ok) throw new Error(outcome.problems.join('\n'));
  return outcome.rules;
}

const schema = `CREATE TABLE t (id int PRIMARY KEY, x text); CREATE TABLE long (a int, b text, x text, PRIMARY KEY (a, b));`;
const refusal = (code: string) => expect.objectContaining({ code });

/** Nodes that share `schema`, ended together. */
async function nodes(ids: string, options: Partial<StoreOptions> = {}) {
  const made = await Promise.all([...ids].map((id) => storeNode(id, schema, ['*'], options)));
  return Object.assign(made as [StoreNode, StoreNode, StoreNode], {
    [Symbol.asyncDispose]: async () => void (await Promise.all(made.map((node) => node[Symbol.asyncDispose]()))),
  });
}

/** Each writes the row of that id by itself. */
async function disagree(made: readonly StoreNode[], from = 1, to = from): Promise<void> {
  for (const { id, sql } of made)
    await sql(
      `INSERT INTO t SELECT i, $1 FROM generate_series($2::int, $3::int) AS i ON CONFLICT (id) DO UPDATE SET x = excluded.x`,
      [`of ${id}`, from, to],
    );
}

const listed = async ({ store }: StoreNode, query: object = {}) =>
  (await store.conflicts.list({ limit: 100, ...query })).conflicts;
const only = async (node: StoreNode): Promise<ConflictView> => {
  const found = await listed(node);
  expect(found).toHaveLength(1);
  return found[0]!;
};

describe('A conflict', () => {
  it('is recorded with all its versions, the rule that decided and the winner', async () => {
    await using made = await nodes('ab', { rules: rules('first-write-wins, t:1=node-priority') });
    const [a, b] = made;
    await disagree(made, 1, 2);
    await b.sql('DELETE FROM t WHERE id = 2');
    await settle(a, b);
    for (const node of made) {
      const [second, first, ...more] = await listed(node);
      expect(more).toEqual([]);
      expect(first).toMatchObject({
        table: 'public.t',
        key: { id: '1' },
        status: 'settled',
        open: null,
        rule: { strategy: 'node-priority', resolver: null, prefix: '1' },
        decided_by: 'node-priority',
        winner: { node_id: 'b', origin: b.store.identity.origin, composed: false },
        ended_at: null,
        ended_by: null,
      });
      const [ofA, ofB] = first!.versions;
      expect(ofA).toEqual({
        stamp: ofA!.stamp,
        at: new Date(ofA!.stamp / 1000).toISOString(),
        origin: a.store.identity.origin,
        node_id: 'a',
        priority: 0,
        vector: { [a.store.identity.origin]: ofA!.stamp },
        deleted: false,
        row: { id: '1', x: 'of a' },
      });
      expect(ofB).toMatchObject({ node_id: 'b', row: { id: '1', x: 'of b' } });
      expect(second).toMatchObject({ key: { id: '2' }, winner: { node_id: 'a' }, rule: { prefix: null } });
      expect(second!.versions[1]).toMatchObject({ node_id: 'b', deleted: true, row: null });
    }
  });

  it('is open under manual until somebody decides, and counted so', async () => {
    await using made = await nodes('ab', { rules: rules('manual') });
    const [a, b] = made;
    await disagree(made);
    await settle(a, b);
    const conflict = await only(a);
    expect(conflict).toMatchObject({ status: 'open', decided_by: 'last-write-wins', rule: { strategy: 'manual' } });
    expect(conflict.open).toMatch(/somebody decides/);
    expect(await a.store.conflicts.countOpen()).toBe(1);
    expect([await listed(a, { status: 'open' }), await listed(a, { status: 'settled' })]).toEqual([[conflict], []]);
    const chosen = conflict.versions[0]!;
    const ended = await a.store.conflicts.resolve(conflict.id, { version: chosen });
    expect(ended).toMatchObject({ id: conflict.id, status: 'settled', open: null, ended_by: { node_id: 'a' } });
    expect(await a.store.conflicts.countOpen()).toBe(0);
    await settle(a, b);
    await expectEqual(a, b);
    expect(await b.sql('SELECT x FROM t')).toEqual([{ x: 'of a' }]);
    expect(await only(b)).toMatchObject({ status: 'settled', ended_by: ended.ended_by, ended_at: expect.any(String) });
  });

  it.each([
    ['a new row', { x: 'between' }, [{ id: 1, x: 'between' }]],
    ['a deletion', null, []],
    ['the row that stands', { id: '1', x: 'of b' }, [{ id: 1, x: 'of b' }]],
  ])('is decided by %s, on all nodes', async (_, row, standing) => {
    await using made = await nodes('abc');
    const [a, b, c] = made;
    await disagree([a, b]);
    await settle(a, b, c);
    const ended = await a.store.conflicts.resolve((await only(a)).id, { row });
    await settle(a, b, c);
    await expectEqual(a, b);
    await expectEqual(a, c);
    for (const node of made) {
      expect(await node.sql('SELECT * FROM t')).toEqual(standing);
      expect(await only(node)).toMatchObject({ ended_by: ended.ended_by });
    }
  });

  it('keeps versions that a later one of the same writer replaced, and ends when one covers all', async () => {
    await using made = await nodes('ab');
    const [a, b] = made;
    await disagree(made);
    await pull(b, a);
    await b.sql(`UPDATE t SET x = 'of b, later'`);
    await pull(b, a);
    const conflict = await only(a);
    expect(conflict.versions.map(({ row }) => row!.x)).toEqual(['of a', 'of b', 'of b, later']);
    expect(conflict.winner.stamp).toBe(conflict.versions[2]!.stamp);
    await pull(a, b);
    await b.sql(`UPDATE t SET x = 'over both'`);
    await settle(a, b);
    expect(await only(a)).toMatchObject({ id: conflict.id, ended_by: { node_id: 'b' } });
    expect(await only(b)).toMatchObject({ ended_by: { node_id: 'b' } });
  });

  it('keeps the present set and a hundred old versions, and says how many it left out', async () => {
    await using made = await nodes('ab');
    const [a, b] = made;
    await disagree(made);
    for (let i = 1; i <= 104; i++) {
      await b.sql(`UPDATE t SET x = $1`, [`of b, ${i}`]);
      await pull(b, a);
    }
    const { versions, versions_left_out } = await only(a);
    // The first of b has not been pulled; 103 of its versions were replaced.
    expect([versions.length, versions_left_out]).toEqual([102, 3]);
    expect([versions[0]!.row!.x, versions[1]!.row!.x, versions.at(-1)!.row!.x]).toEqual([
      'of a',
      'of b, 4',
      'of b, 104',
    ]);
  });

  it('keeps fewer old versions where they are large: a record is one value to PostgreSQL', async () => {
    await using made = await nodes('ab');
    const [a, b] = made;
    await disagree(made);
    await pull(b, a);
    for (let i = 0; i < 5; i++) {
      await b.sql(`UPDATE t SET x = repeat($1, 3000000)`, [String(i)]);
      await pull(b, a);
    }
    const { versions, versions_left_out } = await only(a);
    expect(versions.map(({ row }) => row!.x![0])).toEqual(['o', '2', '3', '4']);
    expect(versions_left_out).toBe(3);
  });

  it('is ended by a local write, seen by the list and by the upkeep', async () => {
    await using made = await nodes('ab', { rules: rules('manual') });
    const [a, b] = made;
    await disagree(made);
    await settle(a, b);
    for (const [node, see] of [
      [a, () => listed(a)],
      [b, () => b.store.keepUp()],
    ] as const) {
      const { id } = await only(node);
      await node.sql(`UPDATE t SET x = 'by hand'`);
      await see();
      expect(await node.store.conflicts.countOpen()).toBe(0);
      const { ended_by } = await node.store.conflicts.find(id);
      expect(ended_by).toMatchObject({ node_id: node.id });
    }
  });

  it('that follows a local write nobody noticed is another one', async () => {
    await using made = await nodes('ab');
    const [a, b] = made;
    await disagree(made);
    await pull(b, a);
    await a.sql(`UPDATE t SET x = 'by hand'`);
    await b.sql(`UPDATE t SET x = 'meanwhile'`);
    await pull(b, a);
    const [second, first] = await listed(a);
    expect(first).toMatchObject({ ended_by: { node_id: 'a' } });
    expect(first!.versions.map(({ row }) => row!.x)).toEqual(['of a', 'of b']);
    expect(second!.versions.map(({ row }) => row!.x)).toEqual(['by hand', 'meanwhile']);
    expect(second!.ended_at).toBeNull();
  });

  it('comes along with a first copy', async () => {
    await using made = await nodes('ab');
    const [a, b] = made;
    await disagree(made, 1, 3);
    await settle(a, b);
    await using c = await storeNode('c', schema);
    await pull(a, c);
    expect((await listed(c)).map(({ key, versions }) => [key, versions.length])).toEqual(
      ['3', '2', '1'].map((id) => [{ id }, 2]),
    );
  });

  it('is told by the rule that holds now, when that has changed', async () => {
    await using b = await storeNode('b', schema);
    const a = await storeNode('a', schema);
    await using _database = a.db;
    await disagree([a, b]);
    await settle(a, b);
    const { id, winner } = await only(a);
    await a.store.close();
    const again = await openStore(a.db, 'a', ['*'], { rules: rules('first-write-wins') });
    try {
      const told = await again.conflicts.find(id);
      expect(told).toMatchObject({ rule: { strategy: 'first-write-wins' }, winner: { node_id: 'a' } });
      expect(told.winner.stamp).toBeLessThan(winner.stamp);
    } finally {
      await again.close();
    }
  });
});

describe('The list of conflicts', () => {
  it('has a thousand of one window, in pages, newest first', async () => {
    await using made = await nodes('ab');
    const [a, b] = made;
    await disagree(made, 1, 1500);
    await settle(a, b);
    const seen: string[] = [];
    let cursor: string | null | undefined;
    do {
      const page = await a.store.conflicts.list({ limit: 400, ...(cursor && { cursor }) });
      expect(page.conflicts.length).toBeLessThanOrEqual(400);
      seen.push(...page.conflicts.map(({ key }) => key.id!));
      ({ cursor } = page);
    } while (cursor !== null);
    expect(seen).toEqual(Array.from({ length: 1500 }, (_, i) => String(1500 - i)));
  });

  it('is of one table where that is asked, and names all columns of a key', async () => {
    await using made = await nodes('ab');
    const [a, b] = made;
    await disagree(made);
    for (const { id, sql } of made) await sql(`INSERT INTO long VALUES (1, 'a/b', $1)`, [id]);
    await settle(a, b);
    expect(await listed(a, { table: 'public.long' })).toMatchObject([
      { table: 'public.long', key: { a: '1', b: 'a/b' } },
    ]);
    expect(await listed(a)).toHaveLength(2);
  });

  it('stays short where versions are large', async () => {
    await using made = await nodes('ab');
    const [a, b] = made;
    await disagree(made, 1, 6);
    for (const { sql } of made) await sql(`UPDATE t SET x = x || repeat('x', 1000000)`);
    await settle(a, b);
    const { conflicts, cursor } = await a.store.conflicts.list({ limit: 100 });
    expect([conflicts.length, typeof cursor]).toEqual([3, 'string']);
    expect((await a.store.conflicts.list({ limit: 100, cursor: cursor! })).conflicts).toHaveLength(3);
  });

  it('forgets after a while what nobody has to decide, and keeps what is open', async () => {
    await using made = await nodes('ab', { rules: rules('last-write-wins, t:2=manual'), conflictRetention: 1 });
    const [a, b] = made;
    await disagree(made, 1, 2);
    await settle(a, b);
    expect((await listed(a)).length).toBeGreaterThan(0);
    await a.store.keepUp();
    const open = await only(a);
    expect(open).toMatchObject({ key: { id: '2' }, status: 'open' });
    await a.store.conflicts.resolve(open.id, { row: null });
    await a.store.keepUp();
    expect(await listed(a)).toEqual([]);
  });

  it('is there while a table is altered', async () => {
    await using made = await nodes('ab');
    const [a, b] = made;
    await disagree(made);
    await settle(a, b);
    await a.sql('ALTER TABLE t ALTER id TYPE text');
    expect(await only(a)).toMatchObject({ key: { id: '1' }, ended_at: null });
    await a.store.keepUp();
    expect(await only(a)).toMatchObject({ key: { id: '1' }, ended_at: null });
  });

  it('loses a table with the table', async () => {
    await using made = await nodes('ab');
    const [a, b] = made;
    await disagree(made);
    await settle(a, b);
    await a.sql('DROP TABLE t');
    await a.store.keepUp();
    expect(await a.sql('SELECT FROM p2p.conflict')).toEqual([]);
  });
});

describe('A decision of a conflict', () => {
  it('is refused when there is none, when it has ended, and for a version that it never had', async () => {
    await using made = await nodes('ab');
    const [a, b] = made;
    await disagree(made);
    await settle(a, b);
    const { id } = await only(a);
    const { conflicts } = a.store;
    await expect(conflicts.resolve(99_999, { row: null })).rejects.toEqual(refusal('not_found'));
    await expect(conflicts.find(99_999)).rejects.toEqual(refusal('not_found'));
    await expect(conflicts.resolve(id, { version: { stamp: 1, origin: 'x' } })).rejects.toEqual(
      refusal('invalid_version'),
    );
    await expect(conflicts.resolve(id, { row: { y: '1' } })).rejects.toEqual(refusal('unknown_column'));
    await expect(conflicts.resolve(id, { row: { id: '2' } })).rejects.toEqual(refusal('invalid_value'));
    expect((await only(a)).ended_at).toBeNull();
    await a.sql(`UPDATE t SET x = 'by hand'`);
    await expect(conflicts.resolve(id, { row: { x: 'late' } })).rejects.toEqual(refusal('decided'));
    await listed(a);
    await expect(conflicts.resolve(id, { row: { x: 'late' } })).rejects.toEqual(refusal('decided'));
    expect(await a.sql('SELECT x FROM t')).toEqual([{ x: 'by hand' }]);
  });

  it('by a version that has a column less or more than the table now writes what there is', async () => {
    await using made = await nodes('ab');
    const [a, b] = made;
    await disagree(made);
    await settle(a, b);
    const { id, versions } = await only(a);
    await a.sql('ALTER TABLE t ADD y text DEFAULT $$new$$');
    await a.sql('ALTER TABLE t DROP x');
    await a.store.conflicts.resolve(id, { version: versions[0]! });
    expect(await a.sql('SELECT * FROM t')).toEqual([{ id: 1, y: 'new' }]);
  });

  it('by two people at once is one', async () => {
    await using made = await nodes('ab');
    const [a, b] = made;
    await disagree(made);
    await settle(a, b);
    const { id } = await only(a);
    const outcomes = await Promise.allSettled(
      ['one', 'other'].map((x) => a.store.conflicts.resolve(id, { row: { x } })),
    );
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(outcomes.find(({ status }) => status === 'rejected')).toMatchObject({ reason: refusal('decided') });
  });
});
