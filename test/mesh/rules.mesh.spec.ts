/** Rules over HTTP on real nodes: changed while they run, compared by peers, with resolvers given in code and in a module. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDatabase } from '../support/database';
import { eventually, eventuallyEqual, LiveNode, startMesh } from '../support/mesh-node';

const schema = `CREATE TABLE t (id int PRIMARY KEY, x text, y text);`;

interface RulesAnswer {
  readonly rules: string;
  readonly digest: string;
  readonly resolvers: readonly string[];
  readonly not_shared: readonly string[];
  readonly differ: readonly { readonly peer: string }[];
}

const rulesOf = (node: LiveNode) => node.ask<RulesAnswer>('rules');
const setRules = (node: LiveNode, rules: string) => node.ask<RulesAnswer>('rules', 'PUT', { rules });

it('rules that are changed while nodes run show the rows in conflict anew, and peers say where they still differ', async () => {
  await using mesh = await startMesh('a <-> b <-> c', schema, {
    all: { syncInterval: 60_000 },
    before: {
      a: `INSERT INTO t SELECT i, 'of a', NULL FROM generate_series(1, 20) AS i`,
      b: `INSERT INTO t SELECT i, NULL, 'of b' FROM generate_series(1, 20) AS i`,
    },
  });
  const [a, b, c] = mesh.nodes as [LiveNode, LiveNode, LiveNode];
  await mesh.connected();
  await eventuallyEqual(a, b, c);
  const shown = (node: LiveNode) => node.sql('SELECT DISTINCT x, y FROM t');
  // Which of them was given its versions first is not ours to say.
  const last = await shown(c);
  const first = last[0]!.x === null ? [{ x: 'of a', y: null }] : [{ x: null, y: 'of b' }];
  expect(last).toHaveLength(1);

  expect((await setRules(a, 'first-write-wins, t:1=manual, other=manual, t=first-write-wins')).not_shared).toEqual([
    'public.other',
  ]);
  await setRules(a, 'first-write-wins, other=manual');
  expect(await shown(a)).toEqual(first);
  // Both sides of each link say so, without waiting for the interval.
  await eventually('a and b say that they differ', async () => {
    expect((await rulesOf(a)).differ).toMatchObject([{ peer: 'b' }]);
    expect((await rulesOf(b)).differ).toMatchObject([{ peer: 'a' }]);
  });
  expect((await rulesOf(c)).differ).toEqual([]);
  // b may have heard of a's first rules, too, before it hears of the second.
  await b.tells({
    type: 'rules_differ',
    peer: 'a',
    differences: [
      { table: null, prefix: null, ours: 'last-write-wins', theirs: 'first-write-wins' },
      { table: 'public.other', prefix: null, ours: 'last-write-wins', theirs: 'manual' },
    ],
  });
  await a.tells({ type: 'rules_changed' });

  for (const node of [b, c, a]) await setRules(node, 'other=manual, first-write-wins');
  await eventuallyEqual(a, b, c);
  expect(await shown(c)).toEqual(first);
  await eventually('nobody differs', async () => {
    for (const node of mesh.nodes) expect((await rulesOf(node)).differ).toEqual([]);
  });
  const digests = await Promise.all(mesh.nodes.map(async (node) => (await rulesOf(node)).digest));
  expect(new Set(digests).size).toBe(1);
});

it('a rule that is changed while conflicts come in ends equal on all nodes', async () => {
  await using mesh = await startMesh('a <-> b <-> c, c <-> a', schema);
  await mesh.connected();
  await mesh.nodes[0]!.sql(`INSERT INTO t SELECT i FROM generate_series(1, 50) AS i`);
  await eventuallyEqual(...mesh.nodes);
  const writing = mesh.nodes.map(async (node, n) => {
    for (let i = 0; i < 100; i++)
      await node.sql(`UPDATE t SET ${i % 2 ? 'x' : 'y'} = $1 WHERE id % 5 = $2`, [`${node.id}${i}`, (i + n) % 5]);
  });
  for (const rules of ['merge-fields', 'first-write-wins, t:1=merge-fields', 'merge-fields']) {
    for (const node of mesh.nodes) await setRules(node, rules);
  }
  await Promise.all(writing);
  await eventuallyEqual(...mesh.nodes);
});

it('a resolver that is given in code decides on every node', async () => {
  await using mesh = await startMesh('a <-> b, b <-> c', schema, {
    all: {
      conflict: 'custom(both)',
      resolvers: {
        both: (_key, a, b) => a.value && b.value && { ...b.value, x: [a.value.x, b.value.x].sort().join('+') },
      },
    },
    before: {
      a: `INSERT INTO t VALUES (1, 'a')`,
      b: `INSERT INTO t VALUES (1, 'b')`,
      c: `INSERT INTO t VALUES (1, 'c')`,
    },
  });
  await mesh.connected();
  await eventually('all three are merged', async () => {
    for (const node of mesh.nodes) expect((await node.sql<{ x: string }>('SELECT x FROM t'))[0]!.x).toHaveLength(5);
  });
  await eventuallyEqual(...mesh.nodes);
  expect(await rulesOf(mesh.nodes[0]!)).toMatchObject({ resolvers: ['both'] });
});

it('rules that cannot be used are refused with what is wrong with them, and change nothing', async () => {
  await using node = await LiveNode.start('a', schema);
  for (const body of [
    { rules: 'newest-wins' },
    { rules: 'custom(nobody)' },
    { entries: [{ strategy: 'manual', prefix: 'x' }] },
    { rules: 't="' },
  ]) {
    await expect(node.ask('rules', 'PUT', body)).rejects.toThrow(/invalid_rules/);
  }
  for (const body of [{}, { rules: 'manual', entries: [] }, { rules: 5 }, { rules: 'manual', more: 1 }]) {
    await expect(node.ask('rules', 'PUT', body)).rejects.toThrow(/bad_request/);
  }
  expect(await rulesOf(node)).toMatchObject({ rules: 'last-write-wins', resolvers: [] });
});

describe('pgmesh node --resolvers', () => {
  const program = join(__dirname, '../../bin/pgmesh.js');
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'pgmesh-resolvers-'));
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  /** Runs a node until it is ready or ends; what it said. */
  async function run(file: string, conflict: string): Promise<string> {
    await using db = await createDatabase();
    await db.sql(schema);
    const args = ['node', '--node-id', 'r', '--port', '0', '--tables', 't', '--database-url', db.url];
    const more = ['--discovery', 'manual', '--resolvers', file, '--conflict', conflict];
    const child = execFile(process.execPath, [program, ...args, ...more], { timeout: 30_000 });
    let said = '';
    const hear = (text: string): void => {
      said += text;
      if (said.includes('"ready"')) child.kill('SIGTERM');
    };
    child.stdout!.on('data', hear);
    child.stderr!.on('data', hear);
    await new Promise((resolve) => child.once('close', resolve));
    return said;
  }

  it.each(['mjs', 'cjs'])('loads the functions of a module, as .%s', async (kind) => {
    const file = join(directory, `resolvers.${kind}`);
    const body = '(key, a, b) => ({ ...b.value })';
    writeFileSync(
      file,
      kind === 'mjs'
        ? `export const stock = ${body};\nexport default ${body};`
        : `module.exports = { stock: ${body}, default: ${body} };`,
    );
    expect(await run(file, 'custom(stock), t=custom')).toContain('"ready"');
    expect(await run(file, 'custom(nobody)')).toMatch(/The rules name the resolver nobody/);
  });

  it('says what is wrong with a module that cannot be used', async () => {
    expect(await run(join(directory, 'missing.mjs'), 'manual')).toMatch(/P2P_RESOLVERS=.*cannot be loaded/);
    const empty = join(directory, 'empty.mjs');
    writeFileSync(empty, 'export const x = 1;');
    expect(await run(empty, 'manual')).toMatch(/exports no function/);
  });
});
