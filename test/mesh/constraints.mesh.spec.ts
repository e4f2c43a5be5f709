/** Nodes whose tables do not keep out the same rows, over HTTP: both say so, and what to run; nothing stops. */
import { eventually, eventuallyEqual, LiveNode, startMesh } from '../support/mesh-node';

const schema =
  'CREATE TABLE users (id int PRIMARY KEY, mail text, n int); CREATE TABLE other (id int PRIMARY KEY, n int CHECK (n > 0))';

const differAt = async (node: LiveNode, peer: string) => (await node.link(peer)).constraints_differ;

/** What it has been told of by events, in order. */
const toldTo = (node: LiveNode) =>
  node.events.flatMap((event) => (event.type === 'constraints_differ' ? [event.differences] : []));

async function agree(a: LiveNode, b: LiveNode): Promise<void> {
  await eventually('they agree', async () => {
    expect([await differAt(a, 'b'), await differAt(b, 'a')]).toEqual([[], []]);
    expect([toldTo(a).at(-1), toldTo(b).at(-1)]).toEqual([[], []]);
  });
}

it('a unique constraint on one node alone is told by both, with what to run, and the rows go on', async () => {
  await using mesh = await startMesh('a <-> b', schema, {
    before: { a: 'ALTER TABLE users ADD CONSTRAINT one UNIQUE (mail)' },
  });
  const [a, b] = mesh.nodes as [LiveNode, LiveNode];
  await mesh.connected();
  const difference = {
    table: 'public.users',
    ours: ['UNIQUE (mail)'],
    theirs: [],
    remedy: 'On b: ALTER TABLE public.users ADD UNIQUE (mail); Or drop on one what the other lacks.',
  };
  await eventually('both say so', async () => {
    expect(await differAt(a, 'b')).toEqual([difference]);
    expect(await differAt(b, 'a')).toEqual([{ ...difference, ours: [], theirs: ['UNIQUE (mail)'] }]);
  });
  await b.sql(`INSERT INTO users VALUES (1, 'x')`);
  await b.sql(`INSERT INTO users VALUES (2, 'x')`);
  await eventually('a has parked one of them', async () => {
    expect(await a.sql('SELECT id FROM users')).toEqual([{ id: 2 }]);
  });
  expect(await b.sql('SELECT id FROM users ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }]);
  expect((await a.link('b')).paused_tables).toEqual([]);

  await b.sql(`UPDATE users SET mail = 'y' WHERE id = 1`);
  await b.sql('CREATE UNIQUE INDEX by_another_name ON users (mail)');
  await agree(a, b);
  await eventuallyEqual(a, b);
  expect(toldTo(a)).toEqual([[difference], []]);
});

it('an ALTER TABLE while nodes run is noticed on both, and its counterpart ends it', async () => {
  await using mesh = await startMesh('a <-> b', schema);
  const [a, b] = mesh.nodes as [LiveNode, LiveNode];
  await mesh.connected();
  expect(toldTo(a)).toEqual([]);
  await a.sql('ALTER TABLE users ADD CONSTRAINT positive CHECK (n > 0), ADD FOREIGN KEY (n) REFERENCES other');
  await eventually('both say so', async () => {
    expect((await differAt(b, 'a')).map(({ ours, theirs }) => [ours, theirs])).toEqual([
      [[], ['CHECK ((n > 0))', 'FOREIGN KEY (n) REFERENCES public.other (id)']],
    ]);
    expect((await differAt(a, 'b')).map(({ ours }) => ours.length)).toEqual([2]);
  });
  const { remedy } = (await differAt(b, 'a'))[0]!;
  await b.sql(remedy.replace(/On b: /g, '').replace(/ Or drop .*/, ''));
  await agree(a, b);
});
