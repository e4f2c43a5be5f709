/** Conflicts over HTTP on real nodes: how they are listed, told and decided. */
import type { ConflictPage, ConflictView } from '@pgmesh/store';
import { eventually, eventuallyEqual, type LiveMesh, type LiveNode, startMesh } from '../support/mesh-node';

const schema = `CREATE TABLE t (id int PRIMARY KEY, x text, n int CHECK (n < 100));`;

/** Three nodes of which a and b have rows of the same keys from before they met. */
const meeting = (rows: number, conflict = 'last-write-wins'): Promise<LiveMesh> => {
  const before = (id: string) => `INSERT INTO t SELECT i, 'of ${id}', 1 FROM generate_series(1, ${rows}) AS i`;
  return startMesh('a <-> b <-> c', schema, {
    all: { conflict },
    before: { a: before('a'), b: before('b') },
  });
};

const list = (node: LiveNode, query = '') => node.ask<ConflictPage>(`conflicts${query}`);
const resolve = (node: LiveNode, { id }: ConflictView, decision: object) =>
  node.ask<ConflictView>(`conflicts/${id}/resolve`, 'POST', decision);

/** The conflicts of a node once there are so many. */
async function conflictsOf(node: LiveNode, count: number): Promise<readonly ConflictView[]> {
  await eventually(`${node.id} has recorded ${count}`, async () =>
    expect((await list(node, '?limit=500')).conflicts).toHaveLength(count),
  );
  return (await list(node, '?limit=500')).conflicts;
}

it('conflicts are listed on every node, and a decision on any of them ends them everywhere', async () => {
  await using mesh = await meeting(3, 'manual');
  const [a, b, c] = mesh.nodes as [LiveNode, LiveNode, LiveNode];
  await mesh.connected();
  for (const node of mesh.nodes) await conflictsOf(node, 3);
  await eventuallyEqual(...mesh.nodes);
  expect(await a.status()).toMatchObject({ conflicts_open: 3 });

  const [third, second, first] = await conflictsOf(a, 3);
  expect(third).toMatchObject({ table: 'public.t', key: { id: '3' }, status: 'open', rule: { strategy: 'manual' } });
  const ofA = first!.versions.find(({ node_id }) => node_id === 'a')!;
  await resolve(a, first!, { version: { stamp: ofA.stamp, origin: ofA.origin } });
  await resolve(a, second!, { row: { x: 'between' } });
  const [onB] = await conflictsOf(b, 3);
  const deleted = await resolve(b, onB!, { row: null });
  expect(deleted).toMatchObject({ status: 'settled', open: null, ended_by: { node_id: 'b' } });

  await eventuallyEqual(...mesh.nodes);
  expect(await c.sql('SELECT * FROM t ORDER BY id')).toEqual([
    { id: 1, x: 'of a', n: 1 },
    { id: 2, x: 'between', n: 1 },
  ]);
  for (const node of mesh.nodes) {
    const told = await conflictsOf(node, 3);
    expect(told.map(({ key, status, ended_by }) => [key.id, status, ended_by?.node_id])).toEqual(
      expect.arrayContaining([
        ['1', 'settled', 'a'],
        ['2', 'settled', 'a'],
        ['3', 'settled', 'b'],
      ]),
    );
    await eventually('none is open', async () => expect(await node.status()).toMatchObject({ conflicts_open: 0 }));
  }
  await b.tells({
    type: 'conflict_ended',
    id: onB!.id,
    table: 'public.t',
    key: { id: '3' },
    ended_by: deleted.ended_by,
  });
});

it('a thousand at once are recorded in one window, told one by one, and read in pages', async () => {
  await using mesh = await meeting(1_200);
  const [a] = mesh.nodes as [LiveNode];
  await mesh.connected();
  await eventuallyEqual(...mesh.nodes);
  const seen = new Set<string>();
  let cursor: string | null = null;
  do {
    const page: ConflictPage = await list(a, `?limit=500&status=settled&table=t${cursor ? `&cursor=${cursor}` : ''}`);
    page.conflicts.forEach(({ key }) => seen.add(key.id!));
    ({ cursor } = page);
  } while (cursor !== null);
  expect(seen.size).toBe(1_200);
  expect((await list(a, '?status=open')).conflicts).toEqual([]);

  const toldNow = () => a.events.filter((event) => event.type === 'conflict');
  const more = () => a.events.reduce((sum, event) => sum + (event.type === 'more_conflicts' ? event.count : 0), 0);
  await eventually('all are told', () => expect(toldNow().length + more()).toBe(1_200));
  const told = toldNow();
  expect(told.length).toBeGreaterThanOrEqual(1_000);
  const { id, table, key, rule, decided_by, open, winner } = await a.ask<ConflictView>(`conflicts/${told[0]!.id}`);
  expect(told[0]).toMatchObject({ peer: 'b', id, table, key, rule, decided_by, open, winner });
});

describe('What cannot be decided', () => {
  let mesh: LiveMesh;
  let node: LiveNode;
  let conflict: ConflictView;
  beforeAll(async () => {
    mesh = await meeting(1);
    [node] = mesh.nodes as [LiveNode];
    [conflict] = (await conflictsOf(node, 1)) as [ConflictView];
  });
  afterAll(() => mesh[Symbol.asyncDispose]());

  it.each([
    ['an unknown column', { row: { y: '1' } }, 422, 'unknown_column'],
    ['another key', { row: { id: '2' } }, 422, 'invalid_value'],
    ['a value of the wrong type', { row: { n: 'many' } }, 422, 'invalid_value'],
    ['a row that a constraint refuses', { row: { n: '100' } }, 422, 'invalid_value'],
    ['a character that PostgreSQL does not take', { row: { x: '\0' } }, 422, 'invalid_value'],
    ['a version that it never had', { version: { stamp: 1, origin: 'x' } }, 422, 'invalid_version'],
    ['a number', { row: { n: 1 } }, 400, 'bad_request'],
    ['JSON in a value', { row: { x: { y: 1 } } }, 400, 'bad_request'],
    ['nothing', {}, 400, 'bad_request'],
    ['both', { row: null, version: { stamp: 1, origin: 'x' } }, 400, 'bad_request'],
    ['a member too many', { row: null, force: true }, 400, 'bad_request'],
  ])('%s is answered clearly, and changes nothing', async (_, decision, status, code) => {
    await expect(resolve(node, conflict, decision)).rejects.toThrow(new RegExp(`: ${status} .*"code":"${code}"`));
    expect(await node.ask(`conflicts/${conflict.id}`)).toEqual(conflict);
  });

  it('a conflict that a write has ended is 409, one that never was 404', async () => {
    await expect(resolve(node, { ...conflict, id: 999_999 }, { row: null })).rejects.toThrow(/: 404 /);
    await node.sql(`UPDATE t SET x = 'by hand'`);
    await expect(resolve(node, conflict, { row: null })).rejects.toThrow(/: 409 .*"code":"decided"/);
    await eventuallyEqual(...mesh.nodes);
    expect(await mesh.nodes[2]!.sql('SELECT x FROM t')).toEqual([{ x: 'by hand' }]);
    const [told] = await conflictsOf(mesh.nodes[2]!, 1);
    expect(told).toMatchObject({ status: 'settled', ended_by: { node_id: 'a' } });
  });
});
