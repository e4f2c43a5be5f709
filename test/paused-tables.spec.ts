/** Tables that are kept out of an exchange while all others go on, over HTTP with stores in memory (trap 37). */
import { MemoryStore } from '../libs/sync/test-support/memory-store';
import { converged, eventually, fullMesh, TestNode } from '../libs/sync/test-support/node';
import { protocolVersion } from '../libs/wire/src';

const tables = ['public.items', 'public.orders'];
/** Long enough that nothing in a test happens because an interval has passed. */
const slow = { interval: 60_000 };

const pausedAt = ({ mesh }: TestNode) => mesh.status().peers.flatMap(({ paused_tables }) => paused_tables);
const isLive = ({ mesh }: TestNode) => mesh.status().peers.every(({ state }) => state === 'live');
const keysOf = ({ store }: TestNode, table: string) => Object.keys(store.contents()[table]!).sort();
const told = ({ events }: TestNode) =>
  events.filter(({ type }) => type === 'table_paused' || type === 'table_resumed').map(({ type }) => type);

async function started(...nodes: TestNode[]): Promise<void> {
  await eventually('first copies have ended', () =>
    nodes.every(({ mesh }) => mesh.status().peers.every(({ position, copying }) => position !== null && !copying)),
  );
}

it('trap 37: a table that was altered is told of at once, in both directions, and goes on where it was left off', async () => {
  await using a = await TestNode.start(new MemoryStore('a', tables), slow);
  await using b = await TestNode.start(new MemoryStore('b', tables), slow);
  fullMesh(a, b);
  for (let i = 0; i < 20; i += 1) a.store.write('public.items', `old${i}`, 'x');
  await started(a, b);
  await converged(a, b);

  a.store.alter('public.items', 'value', 'colour');
  await eventually('both say so', () => pausedAt(a).length === 1 && pausedAt(b).length === 1);
  expect(pausedAt(b)).toEqual([
    {
      table: 'public.items',
      direction: 'pull',
      columns: ['colour'],
      reason: 'b lacks the column colour (text) that a has.',
      remedy: 'On b: ALTER TABLE public.items ADD COLUMN colour text;',
    },
  ]);
  expect(pausedAt(a)).toEqual([{ ...pausedAt(b)[0]!, direction: 'push' }]);

  const [before, copies] = [b.store.arrived.length, b.events.filter(({ type }) => type === 'copy_progress').length];
  a.store.write('public.items', 'new', 'x');
  a.store.write('public.orders', '1', 'x');
  b.store.write('public.items', 'of b', 'x');
  await eventually('the other table goes on, and the other direction', () => {
    return keysOf(b, 'public.orders').length === 1 && keysOf(a, 'public.items').includes('of b');
  });
  expect(keysOf(b, 'public.items')).not.toContain('new');
  expect(isLive(a) && isLive(b)).toBe(true);

  b.store.alter('public.items', 'value', 'colour');
  await converged(a, b);
  await eventually('nothing is paused', () => pausedAt(a).length + pausedAt(b).length === 0);
  expect([told(a), told(b)]).toEqual([
    ['table_paused', 'table_resumed'],
    ['table_paused', 'table_resumed'],
  ]);
  // What was there before does not come again, as it would with a copy.
  expect(b.store.arrived.slice(before).map(({ key }) => key)).not.toContainEqual(expect.stringContaining('/old'));
  expect(b.events.filter(({ type }) => type === 'copy_progress')).toHaveLength(copies);
});

it.each([
  ['pushed', true],
  ['fetched', false],
])(
  'trap 37: a table of which a %s window is refused is left out, and tried again after an interval',
  async (_, pushes) => {
    await using a = await TestNode.start(new MemoryStore('a', tables), { interval: 300 });
    await using b = await TestNode.start(new MemoryStore('b', tables), { interval: 300 });
    (pushes ? a : b).peers.add((pushes ? b : a).url);
    await started(pushes ? a : b);
    b.store.altered = 'public.items';
    a.store.write('public.items', '1', 'x');
    a.store.write('public.orders', '1', 'x');
    await eventually('the other table goes on', () => keysOf(b, 'public.orders').length === 1);
    await eventually('the table is named', () => pausedAt(pushes ? a : b).length === 1);
    expect(pausedAt(pushes ? a : b)).toMatchObject([{ table: 'public.items', columns: ['colour'] }]);
    a.store.write('public.orders', '2', 'x');
    await eventually('the other table goes on', () => keysOf(b, 'public.orders').length === 2);
    expect(isLive(pushes ? a : b)).toBe(true);
    b.store.altered = null;
    await converged(a, b);
  },
);

it('trap 37: forms are told to nodes that have others, and digests to all', async () => {
  await using a = await TestNode.start(new MemoryStore('a', tables), slow);
  const hello = await a.mesh.exchange.hello(greeting);
  expect(hello.digests).toHaveLength(2);
  expect(hello.forms).toEqual({});
  await expect(a.mesh.exchange.hello({ ...greeting, digests: ['other', ''] })).resolves.toMatchObject({
    forms: { 'public.items': { key: ['key'] } },
  });
});

const greeting = {
  protocol: protocolVersion,
  instance: 'i',
  node_id: 'older',
  epoch: 'e',
  room: '',
  tables,
  url: null,
  links: [],
  knowledge: {},
  position: null,
};
