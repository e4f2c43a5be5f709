import { parseRules, type Rules } from '@pgmesh/core';
import { expectEqual, storeNode } from '../support/store-node';
import { bodies, kept, meet, read, schema } from './meeting';

function rules(text: string): Rules {
  const outcome = parseRules(text);
  if (!outcome.ok) throw new Error(outcome.problems.join('\n'));
  return outcome.rules;
}

it('a set of versions of which one was forgotten here, and that is still kept elsewhere, comes to the same on all', async () => {
  const first = { rules: rules('first-write-wins') };
  await using stale = await storeNode('stale', schema, ['*'], first);
  await using forgetful = await storeNode('forgetful', schema, ['*'], first);
  await using writer = await storeNode('writer', schema, ['*'], first);
  await stale.sql(`INSERT INTO notes VALUES (1, 'old')`);
  await read(stale, forgetful);
  await forgetful.sql('DELETE FROM notes');
  await meet(stale, forgetful);
  await forgetful.store.collect();
  expect([await kept(forgetful), await kept(stale)]).toEqual([0, 1]);
  await writer.sql(`INSERT INTO notes VALUES (1, 'concurrent')`);
  await read(writer, stale);
  await read(stale, forgetful);
  await read(forgetful, writer);
  await read(writer, stale);
  for (let round = 0; round < 3; round++) await meet(stale, forgetful, writer);
  // By the first write it stays deleted; the other is kept beside it.
  for (const node of [stale, forgetful, writer]) {
    expect(await bodies(node)).toEqual([]);
    await node.store.setRules(rules('last-write-wins'));
    expect(await bodies(node)).toEqual(['1 concurrent']);
  }
  await expectEqual(stale, forgetful, writer);
});

it('a row that is new here comes also with one that was deleted here, and is forgotten', async () => {
  const options = { rules: rules('first-write-wins') };
  await using sleeper = await storeNode('sleeper', schema, ['*'], options);
  await using forgetful = await storeNode('forgetful', schema, ['*'], options);
  await using writer = await storeNode('writer', schema, ['*'], options);
  await forgetful.sql(`INSERT INTO notes VALUES (1, 'deleted there')`);
  await read(forgetful, sleeper);
  await forgetful.sql('DELETE FROM notes');
  await forgetful.store.collect();
  expect(await kept(forgetful)).toBe(0);
  await writer.sql(`INSERT INTO notes VALUES (1, 'new')`);
  await read(writer, sleeper);
  expect(await bodies(sleeper)).toEqual(['1 deleted there']);
  for (let round = 0; round < 2; round++) await meet(sleeper, forgetful, writer);
  for (const node of [sleeper, forgetful, writer]) expect(await bodies(node)).toEqual(['1 new']);
  await expectEqual(sleeper, forgetful, writer);
});
