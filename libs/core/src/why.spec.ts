import type { RowVersion } from './row-version';
import type { StrategyName } from './rules';
import { type Rule, visible } from './visible';
import { whyOf } from './why';

const version = (
  stamp: number,
  origin: string,
  image: RowVersion['image'],
  more: Partial<RowVersion> = {},
): RowVersion => ({
  stamp,
  origin,
  priority: 0,
  past: {},
  deleted: image === null,
  image,
  ...more,
});

const first = version(10, 'a', { id: '1', x: 'a', doc: '{"k": 1, "l": 1}' }, { priority: 3 });
const second = version(
  20,
  'b',
  { id: '1', x: 'b', doc: '{"k": 1, "l": 2}' },
  {
    past: { o: 5 },
    fields: { id: { at: [5, 'o'] }, doc: { keys: { k: [5, 'o'] } } },
  },
);

function why(strategy: StrategyName, state = [first, second], more: Partial<Rule> = {}) {
  const rule: Rule = { strategy, keyColumns: ['id'], jsonb: new Set(['doc']), ...more };
  return whyOf(state, visible(state, rule, ['1']));
}

describe('Why a row is as it is', () => {
  it('names for each column the write that it shows', () => {
    expect(why('last-write-wins').columns).toEqual({
      id: { write: [5, 'o'], keys: {} },
      x: { write: [20, 'b'], keys: {} },
      doc: { write: [20, 'b'], keys: { k: [5, 'o'] } },
    });
    expect(why('first-write-wins').columns.x).toEqual({ write: [10, 'a'], keys: {} });
  });

  it('names what it stands against: the others, and of a composed row all', () => {
    expect(why('last-write-wins').against).toEqual([first]);
    expect(why('first-write-wins').against).toEqual([second]);
    expect(why('merge-fields').against).toEqual([second, first]);
    expect(why('last-write-wins', [first]).against).toEqual([]);
  });

  it('says of what a resolver made which values are of a write, and which of its own', () => {
    const resolver: Rule['resolver'] = (_key, a, b) => ({ ...b.value!, x: `${a.value!.x}${b.value!.x}` });
    expect(why('custom', [first, second], { resolver }).columns).toMatchObject({
      x: { write: null },
      doc: { write: [20, 'b'] },
    });
  });

  it('says by what it stands', () => {
    expect(why('last-write-wins', [first]).reason).toMatch(/Nothing/);
    expect(why('last-write-wins').reason).toMatch(/the last of 2/);
    expect(why('node-priority').reason).toMatch(/priority \(3\)/);
    expect(why('manual').reason).toMatch(/people.*until somebody decides/);
    expect(why('custom').reason).toMatch(/No resolver is registered/);
    expect(why('merge-fields', [version(1, 'a', null), version(2, 'b', null)]).reason).toMatch(/deleted/);
    expect(why('merge-fields', [version(1, 'a', null), version(2, 'b', null)]).columns).toEqual({});
  });
});
