import { parseRules, type Rules } from '@pgmesh/core';
import { settle, storeNode } from '../support/store-node';
import { made } from './meeting';

function rules(text: string): Rules {
  const outcome = parseRules(text);
  if (!outcome.ok) throw new Error(outcome.problems.join('\n'));
  return outcome.rules;
}

describe('Where a version was made', () => {
  it('stays what it is while its row is parked and when it is back', async () => {
    const schema = 'CREATE TABLE person (id int PRIMARY KEY, mail text UNIQUE)';
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await a.sql(`INSERT INTO person VALUES (1, 'same')`);
    const [first] = Object.values(await made(a, 'person'));
    await b.sql(`INSERT INTO person VALUES (2, 'same')`);
    await settle(a, b);
    expect(await a.sql('SELECT id FROM person')).toEqual([{ id: 2 }]);
    expect((await made(a, 'person'))[1]).toBe(first);
    expect(await made(b, 'person')).toEqual(await made(a, 'person'));
    await b.sql(`DELETE FROM person WHERE id = 2`);
    await settle(a, b);
    expect(await a.sql('SELECT id FROM person')).toEqual([{ id: 1 }]);
    expect((await made(a, 'person'))[1]).toBe(first);
    expect(await made(b, 'person')).toEqual(await made(a, 'person'));
  });

  it('stays what it is when rows stand by other rules', async () => {
    const schema = 'CREATE TABLE notes (id int PRIMARY KEY, body text)';
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    await a.sql(`INSERT INTO notes VALUES (1, 'of a')`);
    const [first] = Object.values(await made(a, 'notes'));
    await b.sql(`INSERT INTO notes VALUES (1, 'of b')`);
    await settle(a, b);
    const latest = await made(a, 'notes');
    expect(latest[1]).not.toBe(first);
    await a.store.setRules(rules('first-write-wins'));
    expect(await a.sql('SELECT body FROM notes')).toEqual([{ body: 'of a' }]);
    expect((await made(a, 'notes'))[1]).toBe(first);
    await a.store.setRules(rules('last-write-wins'));
    expect(await a.sql('SELECT body FROM notes')).toEqual([{ body: 'of b' }]);
    expect(await made(a, 'notes')).toEqual(latest);
  });
});
