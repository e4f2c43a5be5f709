/** Trap 27: the numbers of the nodes, as peers tell them to each other, and the command that takes them. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { interleaveSequences } from '@pgmesh/store';
import { eventually, eventuallyEqual, LiveNode, startMesh } from '../support/mesh-node';

const schema = 'CREATE TABLE t (n serial PRIMARY KEY, x text)';
const program = join(__dirname, '../../bin/pgmesh.js');

/** What the command printed, and how it ended. */
function pgmesh(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  if (!existsSync(join(__dirname, '../../dist/apps/cli/src/main.js')))
    throw new Error('Run npm run build first: this test starts what is built.');
  return new Promise((resolve) => {
    execFile(process.execPath, [program, 'sequences', ...args], { timeout: 30_000 }, (error, out, err) => {
      resolve({ code: error ? Number(error.code ?? -1) : 0, out, err });
    });
  });
}

const take = (node: LiveNode, slot: number, of = 3) => interleaveSequences({ url: node.db.url, slot: { slot, of } });
const peers = async (node: LiveNode) =>
  Object.fromEntries((await node.status()).peers.map(({ node_id, sequences }) => [node_id, sequences]));

it('trap 27: two nodes with one number, or with other steps, say so, both of them, until they have parted', async () => {
  await using mesh = await startMesh('a <-> b, b <-> c', schema);
  await mesh.connected();
  const [a, b, c] = mesh.nodes as [LiveNode, LiveNode, LiveNode];
  for (const node of [a, b]) await take(node, 1);
  await take(c, 2, 4);
  await eventually('all clashes are told', async () => {
    expect(await peers(a)).toEqual({ b: { slot: 1, of: 3, clash: 'slot' } });
    expect(await peers(b)).toEqual({
      a: { slot: 1, of: 3, clash: 'slot' },
      c: { slot: 2, of: 4, clash: 'stride' },
    });
    expect(await peers(c)).toEqual({ b: { slot: 1, of: 3, clash: 'stride' } });
  });
  expect((await a.status()).sequences).toEqual({ slot: 1, of: 3 });
  const told = {
    type: 'sequences_clash',
    clash: 'slot',
    ours: { slot: 1, of: 3 },
    theirs: { slot: 1, of: 3 },
  } as const;
  await a.tells({ ...told, peer: 'b' });
  await b.tells({ ...told, peer: 'a' });

  await take(b, 2);
  await take(c, 3);
  await eventually('nobody clashes', async () => {
    const ofB = { b: { slot: 2, of: 3, clash: null } };
    expect([await peers(a), await peers(c)]).toEqual([ofB, ofB]);
    expect(await peers(b)).toEqual({ a: { slot: 1, of: 3, clash: null }, c: { slot: 3, of: 3, clash: null } });
  });
  await b.tells({ type: 'sequences_clash', peer: 'a', clash: null });
  await Promise.all(
    [a, b, c].map((node) => node.sql(`INSERT INTO t (x) SELECT $1 FROM generate_series(1, 50)`, [node.id])),
  );
  await eventuallyEqual(a, b, c);
  expect(await c.sql('SELECT count(*)::int AS rows FROM t')).toEqual([{ rows: 150 }]);
});

it('trap 27: pgmesh sequences takes the lowest number that nobody has, and is a check', async () => {
  await using mesh = await startMesh('a <-> b', schema);
  await mesh.connected();
  const [a, b] = mesh.nodes as [LiveNode, LiveNode];
  const before = await pgmesh('--database-url', a.db.url);
  expect(before.code).toBe(1);
  expect(before.out).toMatch(/public\.t\.n +public\.t_n_seq +1 +- +- +collides[\s\S]*--interleave --slot/);

  const ofA = await pgmesh('--database-url', a.db.url, '--interleave', '--of', '2', '--url', a.url);
  expect(ofA).toMatchObject({ code: 0, err: expect.stringMatching(/The slot of b is not known/) as string });
  expect(ofA.out).toMatch(/^Slot 1 of 2\.[\s\S]*interleaved +public\.t_n_seq \(public\.t\.n\): next 1/);
  await eventually('b knows', async () => expect((await peers(b)).a).toMatchObject({ slot: 1 }));
  const ofB = await pgmesh('--database-url', b.db.url, '--interleave', '--of', '2', '--url', b.url);
  expect(ofB).toMatchObject({ code: 0, out: expect.stringMatching(/^Slot 2 of 2/) as string, err: '' });
  // Once more, by the other's address or by none: it stays with its own.
  for (const args of [['--url', a.url], []]) {
    const again = await pgmesh('--database-url', b.db.url, '--interleave', '--of', '2', ...args);
    expect(again.out).toMatch(/^Slot 2 of 2\.[\s\S]*unchanged/);
  }
  const other = await pgmesh('--database-url', b.db.url, '--interleave', '--of', '3', '--url', b.url);
  expect(other).toMatchObject({ code: 1, err: expect.stringMatching(/a counts in steps of 2, not 3/) as string });
  const after = await pgmesh('--database-url', b.db.url, '--json');
  expect(after.code).toBe(0);
  expect(JSON.parse(after.out)).toMatchObject({
    node_id: 'b',
    slot: { slot: 2, of: 2 },
    sequences: [{ collides: false }],
  });
});

it('says what is missing', async () => {
  await using node = await LiveNode.start('a', schema);
  const url = ['--database-url', node.db.url];
  expect((await pgmesh(...url, '--interleave')).err).toMatch(/How many\? Give --of/);
  expect((await pgmesh(...url, '--interleave', '--of', '3')).err).toMatch(/Which one\? Give --slot <1 to 3>/);
  expect((await pgmesh(...url, '--interleave', '--of', 'x', '--slot', '1')).err).toMatch(
    /whole number from 1 to 10000/,
  );
  expect((await pgmesh(...url, '--slot', '1')).err).toMatch(/are for --interleave/);
});
