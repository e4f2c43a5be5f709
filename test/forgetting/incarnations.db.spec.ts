import { nextRequest } from '@pgmesh/core';
import { renameWriter } from '@pgmesh/store';
import { openFor, readerOf } from '../../libs/sync/src/offer';
import { backupOf, copyDatabase } from '../support/database';
import { expectEqual, opened, storeNode } from '../support/store-node';
import { startPulling } from '../traps/pulling';
import { bodies, evictFrom, exchange, kept, meet, read, schema, table } from './meeting';

/** Transactions by which the ids of the cluster that a dump was taken of lie ahead of those of the one that it is restored in. */
const ahead = 1_000_000_000;

it('trap 11: a dump that is restored in a new cluster, whose transaction ids are lower, is read from to the end', async () => {
  await using a = await storeNode('a', schema);
  const b = await storeNode('b', schema);
  await using _ = b.db;
  await a.sql(`INSERT INTO notes SELECT i, 'row' FROM generate_series(1, 6) AS i`);
  await meet(a, b);
  await b.sql('DELETE FROM notes WHERE id <= 2');
  await meet(a, b);
  await b.store.collect();
  expect(await kept(b)).toBe(0);
  await b.store.close();
  await using restored = await backupOf(b.db);
  // As they would be had the original cluster counted further.
  const { meta } = b.store.find(table)!;
  await restored.sql(`UPDATE ${meta} SET xid = (xid::text::int8 + ${ahead})::text::xid8`);
  await restored.sql(
    `UPDATE p2p.tracked_table SET guards = (SELECT jsonb_agg((SELECT jsonb_agg(m || jsonb_build_object('at', regexp_replace(m ->> 'at', '/.*', '/') ||
       ((split_part(split_part(m ->> 'at', '/', 2), ':', 1))::int8 + ${ahead}) || ':')) FROM jsonb_array_elements(g) AS m)) FROM jsonb_array_elements(guards) AS g)
     WHERE guards <> '[]'`,
  );
  await using back = await opened(restored, 'b');
  await back.sql(`INSERT INTO notes VALUES (9, 'after')`);
  await meet(a, back);
  for (const node of [a, back]) expect(await bodies(node)).toEqual(['3 row', '4 row', '5 row', '6 row', '9 after']);
  await back.sql('DELETE FROM notes WHERE id = 3');
  await meet(a, back);
  expect(await back.store.collect()).toEqual({ [table]: 1 });
  await meet(a, back);
  await expectEqual(a, back);
});

it('goes on where the source of a copy anew was set back in the midst of it, to before it had forgotten anything', async () => {
  await using a = await storeNode('a', schema);
  const b = await storeNode('b', schema);
  await using _ = b.db;
  await b.sql(`INSERT INTO notes SELECT i, 'row' FROM generate_series(1, 300) AS i`);
  await meet(a, b);
  await b.store.close();
  await using restored = await backupOf(b.db);
  const lived = await opened(b.db, 'b');
  await evictFrom(lived, a);
  await lived.sql('DELETE FROM notes WHERE id % 3 = 0');
  await lived.store.collect();
  expect(await kept(lived)).toBe(0);
  await a.store.inbox.copyAnew('b', [table]);
  const pulling = await startPulling(lived, a, 20);
  while (pulling.rows < 60) await new Promise((resolve) => setTimeout(resolve, 2));
  await pulling.kill();
  expect((await a.store.inbox.position('b'))!.copy).not.toBeNull();
  await lived.store.close();

  await using back = await opened(restored, 'b');
  await back.sql(`INSERT INTO notes VALUES (2000, 'after')`);
  await a.sql(`INSERT INTO notes VALUES (2001, 'after')`);
  await exchange(a, back);
  await meet(a, back);
  expect((await bodies(a)).slice(-2)).toEqual(['2000 after', '2001 after']);
  await expectEqual(a, back);
});

it('takes a database that was set back unnoticed, and was given a name of its own, without what was deleted meanwhile', async () => {
  await using a = await storeNode('a', schema);
  const b = await storeNode('b', schema);
  await using _ = b.db;
  await b.sql(`INSERT INTO notes SELECT i, 'of b' FROM generate_series(1, 4) AS i`);
  await meet(a, b);
  await b.store.close();
  const since = new Date();
  await using setBack = await copyDatabase(b.db);
  const lived = await opened(b.db, 'b');
  await lived.sql('DELETE FROM notes WHERE id <= 2');
  await meet(a, lived);
  await a.store.collect();
  expect(await kept(a)).toBe(0);
  await lived.store.close();

  await setBack.sql(`INSERT INTO notes VALUES (9, 'after'); UPDATE notes SET body = 'after' WHERE id = 4`);
  await renameWriter({ url: setBack.url, since });
  await using back = await opened(setBack, 'b');
  await meet(a, back);
  await meet(a, back);
  for (const node of [a, back]) expect(await bodies(node)).toEqual(['3 of b', '4 after', '9 after']);
  await expectEqual(a, back);
});

it('trap 11: what was written into a restored database before its node was started reaches who had come past those transactions', async () => {
  const a = await storeNode('a', schema);
  await using _ = a.db;
  await using middle = await storeNode('middle', schema);
  await using last = await storeNode('last', schema);
  await a.sql(`INSERT INTO notes VALUES (1, 'row')`);
  await meet(a, middle, last);
  await a.store.keepUp();
  await a.store.close();
  await using restored = await backupOf(a.db);
  // What the last one has read of the lost time: the same ids were given to other rows there.
  await last.sql(
    `UPDATE p2p.position SET (snapshot, complete) = (SELECT x, x FROM (SELECT (split_part(snapshot, ':', 1)::int8 + 1000000) || ':' AS x) AS ahead) WHERE node = 'a'`,
  );
  await restored.sql(`INSERT INTO notes VALUES (2, 'before the start')`);
  await using back = await opened(restored, 'a');
  await read(back, middle);
  const { nodeId, epoch } = middle.store.identity;
  const request = nextRequest(await last.store.inbox.position(nodeId), epoch, [table], null)!;
  const told = {
    nodeId: 'last',
    knowledge: await last.store.inbox.knowledge(),
    seen: await last.store.inbox.seen(),
    links: [],
  };
  const window = await openFor(
    middle.store,
    await readerOf(middle.store, told, last.store.identity.epoch),
    request,
    100,
  );
  await last.store.inbox.apply(window.frames());
  expect(await bodies(last)).toEqual(['1 row', '2 before the start']);
  await meet(back, middle, last);
  await expectEqual(back, middle, last);
});
