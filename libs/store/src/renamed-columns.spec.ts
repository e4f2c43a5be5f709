import { renamesOf } from './renamed-columns';

describe('The columns of a table that were renamed', () => {
  it.each([
    ['one', { 1: 'id', 2: 'v' }, { 1: 'id', 2: 'w' }, { v: 'w' }],
    ['two', { 1: 'id', 2: 'v', 3: 'x' }, { 1: 'key', 2: 'w', 3: 'x' }, { id: 'key', v: 'w' }],
    ['none, where one was added and one dropped', { 1: 'id', 2: 'v' }, { 1: 'id', 3: 'w' }, {}],
    ['none, where a restored table counts anew', { 2: 'id', 3: 'v', 4: 'w' }, { 1: 'id', 2: 'v', 3: 'w' }, {}],
  ])('are told by their numbers: %s', (_what, before, now, renamed) => {
    expect(renamesOf(before, now)).toEqual(renamed);
  });
});
