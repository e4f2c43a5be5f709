import * as fc from 'fast-check';
import { joinObject, splitObject } from './jsonb-object';

const split = (text: string | null) => {
  const members = splitObject(text);
  return members && Object.fromEntries(members);
};

describe("A jsonb object's text", () => {
  it('falls into its members, with every value as it was printed', () => {
    expect(split('{}')).toEqual({});
    expect(
      split('{"n": 12345678901234567890, "v": 1.00, "s": "a\\"},{", "o": {"k": [1, "]"]}, "l": [{}, null]}'),
    ).toEqual({
      n: '12345678901234567890',
      v: '1.00',
      s: '"a\\"},{"',
      o: '{"k": [1, "]"]}',
      l: '[{}, null]',
    });
    expect(splitObject('{"a\\"b\\u0001": true, "__proto__": 1}')).toEqual(
      new Map([
        ['a"b\u0001', 'true'],
        ['__proto__', '1'],
      ]),
    );
  });

  it.each([
    null,
    'null',
    '1',
    '"{}"',
    '[1]',
    '',
    '{',
    '{"a"',
    '{"a": }',
    '{"a": 1',
    '{"a": 1}}',
    '{"a": [1}',
    '{a: 1}',
    '{"a": 1,}',
    '{} {}',
    '{"\\x": 1}',
  ])('is not found in %p', (text) => {
    expect(splitObject(text)).toBeNull();
  });

  it('is put together again: shorter keys first, then by their bytes', () => {
    const members = new Map(['b', 'aa', 'é', 'a', '', '\u{1f600}', '\uff00x'].map((key) => [key, '1.0'] as const));
    expect(joinObject(members)).toBe(
      '{"": 1.0, "a": 1.0, "b": 1.0, "aa": 1.0, "é": 1.0, "\uff00x": 1.0, "\u{1f600}": 1.0}',
    );
    expect(joinObject(new Map())).toBe('{}');
  });

  it('comes back from its members', () => {
    const value = fc.jsonValue().map((json) => JSON.stringify(json));
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.string(), value)), (entries) => {
        const members = new Map(entries);
        expect(splitObject(joinObject(members))).toEqual(new Map([...members]));
      }),
    );
  });
});
