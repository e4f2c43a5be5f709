import type { MemberView } from '@pgmesh/nest';
import { copyDatabase, type TestDatabase } from '../support/database';
import { eventually, eventuallyEqual, LiveNode, pause } from '../support/mesh-node';
import { pull, storeNode } from '../support/store-node';

const schema = 'CREATE TABLE items (id int PRIMARY KEY, name text);';
const brisk = { syncInterval: 250 };

const members = (node: LiveNode): Promise<MemberView[]> => node.ask('members');
const member = async (node: LiveNode, id: string): Promise<MemberView | undefined> =>
  (await members(node)).find(({ node_id }) => node_id === id);
const epochOf = async (node: LiveNode): Promise<string> => (await node.status()).epoch;
const positionOf = async (node: LiveNode, id: string) =>
  (
    await node.sql<{ epoch: string; reached: string }>('SELECT epoch, reached FROM p2p.position WHERE node = $1', [id])
  )[0];

async function linked(...pairs: readonly (readonly [LiveNode, LiveNode])[]): Promise<void> {
  for (const [one, other] of pairs) {
    await one.dial(other.url);
    await other.dial(one.url);
  }
}

/** A copy on what seems another cluster. */
async function restoredFrom(database: TestDatabase): Promise<TestDatabase> {
  const copy = await copyDatabase(database);
  await copy.sql('UPDATE p2p.node SET system_identifier = system_identifier + 1');
  return copy;
}

/** Three in a line, with rows of each. */
async function line() {
  const [a, b, c] = [
    await LiveNode.start('a', schema, brisk),
    await LiveNode.start('b', schema, brisk),
    await LiveNode.start('c', schema, brisk),
  ] as const;
  await linked([a, b], [b, c]);
  await Promise.all([a, b, c].map(({ sql, id }, i) => sql('INSERT INTO items VALUES ($1, $2)', [i + 1, id])));
  await eventuallyEqual(a, b, c);
  await eventually('all know all', async () => {
    for (const node of [a, b, c]) {
      for (const { node_id, claim, lag } of await members(node)) {
        expect(claim).not.toBeNull();
        if (node_id !== node.id) expect(lag).toMatchObject({ rows: 0 });
      }
      expect(await members(node)).toHaveLength(3);
    }
  });
  return {
    nodes: [a, b, c] as const,
    async [Symbol.asyncDispose]() {
      for (const node of [a, b, c]) await node[Symbol.asyncDispose]();
    },
  };
}

it('trap 10: a restored backup is a later incarnation, also to those who only hear of it; what it had claimed is not believed of it', async () => {
  await using three = await line();
  const [a, b, c] = three.nodes;
  const first = await epochOf(c);
  await c.stop();
  await using backup = await restoredFrom(c.db);
  await c.start();
  await c.sql(`INSERT INTO items VALUES (10, 'lost by the restore')`);
  await a.sql('DELETE FROM items WHERE id = 2');
  await eventuallyEqual(a, b, c);
  await eventually('c has claimed that it knows of the deletion', async () => {
    expect((await member(a, 'c'))?.holds_up_since).toBeNull();
  });
  await c.stop();

  await using restored = await LiveNode.start('c', backup, brisk);
  const second = await epochOf(restored);
  expect(second > first).toBe(true);
  await linked([b, restored]);
  await eventuallyEqual(a, b, restored);
  expect(await restored.sql('SELECT id FROM items ORDER BY id')).toEqual([{ id: 1 }, { id: 3 }, { id: 10 }]);
  await restored.sql(`INSERT INTO items VALUES (11, 'after the restore')`);
  await eventuallyEqual(a, b, restored);
  await eventually('all have heard of it, and a has come as far in its new feed without a link to it', async () => {
    expect(await member(a, 'c')).toMatchObject({ epoch: second, claim: expect.any(Number), lag: { rows: 0 } });
    expect(await positionOf(a, 'c')).toEqual({ epoch: second, reached: '0:' });
  });
});

it('trap 09: a copy that is started far from the original is noticed there, and does not make anybody begin anew', async () => {
  await using three = await line();
  const [a, b, c] = three.nodes;
  await a.stop();
  await using copy = await restoredFrom(a.db);
  // Else it would talk to b, too, which would refuse both (see cloned.db.spec.ts).
  await copy.sql('DELETE FROM p2p.peer');
  await a.start();
  await using clone = await LiveNode.start('a', copy, brisk);
  await linked([c, clone]);
  // The original hears of the copy.
  await a.tells({
    type: 'sync_failed',
    code: 'cloned_node',
    detail: expect.stringMatching(/later incarnation.*new-incarnation/),
  });
  const copies = (): number => b.events.filter(({ type }) => type === 'copy_progress').length;
  await a.sql(`INSERT INTO items VALUES (20, 'of the original')`);
  await clone.sql(`INSERT INTO items VALUES (21, 'of the copy')`);
  await eventuallyEqual(a, b, c, clone);
  // A link that is down for a moment on a busy machine may make it begin anew once.
  await eventually('b reads on where it was', async () => {
    const before = copies();
    await pause(3_000);
    expect(copies()).toBe(before);
  });
  await eventually('that is the feed of the original', async () => {
    expect(await positionOf(b, 'a')).toMatchObject({ epoch: await epochOf(a) });
  });
  expect(a.events.filter((event) => event.type === 'sync_failed' && event.code === 'cloned_node')).toHaveLength(1);
});

it('trap 11: a dump in a new cluster tells positions in feeds that were never read as they were', async () => {
  await using three = await line();
  const [a, , c] = three.nodes;
  expect((await positionOf(c, 'a'))?.reached).toBe('0:');
  await c.stop();
  await using copy = await restoredFrom(c.db);
  await using moved = await LiveNode.start('c', copy, brisk);
  await a.sql(`INSERT INTO items VALUES (30, 'meanwhile')`);
  await linked([a, moved]);
  await eventuallyEqual(a, moved);
  const copied = moved.events.filter(({ type }) => type === 'copy_progress');
  expect(copied).toEqual([]);
});

it('traps 10 and 14: where commits do not wait for the log, what is told of positions and claims does', async () => {
  await using a = await storeNode('a', schema);
  await using b = await storeNode('b', schema);
  await b.sql(
    `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$`,
  );
  await b.sql(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`,
  );
  const lsn = async (): Promise<string> =>
    (await b.sql<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn'))[0]!.lsn;
  const isFlushed = async (past: string): Promise<boolean> =>
    (await b.sql<{ flushed: boolean }>('SELECT pg_current_wal_flush_lsn() > $1::pg_lsn AS flushed', [past]))[0]!
      .flushed;
  for (let i = 0; i < 10; i++) {
    await a.sql('INSERT INTO items VALUES ($1, $2)', [i, 'x']);
    const before = await lsn();
    await pull(a, b);
    expect(await isFlushed(before)).toBe(true);
    // A row of b's own, which its snapshot shows as soon as it is committed.
    await b.sql('INSERT INTO items VALUES ($1, $2)', [100 + i, 'y']);
    const written = await lsn();
    const claimed = await b.store.members.claim(Date.now(), false);
    expect(claimed?.after.claim).not.toBeNull();
    expect(await isFlushed(written)).toBe(true);
  }
});
