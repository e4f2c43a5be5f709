import { formatCursor, parseCursor } from './cursor';

describe('A cursor', () => {
  it('is read back as it was written', () => {
    const cursor = { epoch: '3f9ac81b22d0', snapshot: { xmax: 812n, xip: [790n, 804n] } };
    expect(formatCursor(cursor)).toBe('3f9ac81b22d0/812:790,804');
    expect(parseCursor(formatCursor(cursor))).toEqual(cursor);
  });

  it.each([
    '',
    '/',
    '/5:',
    'a',
    'a/',
    'a/b',
    'a/5:/',
    'A/5:',
    'a b/5:',
    `${'a'.repeat(33)}/5:`,
    'a/5:5',
    'a//5:',
    '__proto__/5:',
  ])('is refused when it reads %j', (text) => expect(parseCursor(text)).toBeNull());

  it('is refused when it is megabytes long', () => {
    expect(parseCursor('a'.repeat(5_000_000))).toBeNull();
    expect(parseCursor(`a/9999999:${'1,'.repeat(2_000_000)}1`)).toBeNull();
  });
});
