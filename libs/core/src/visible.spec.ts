import { checkResolver } from './check-resolver';
import { describeFailure, type Resolver } from './resolver';
import type { RowImage, RowVersion } from './row-version';
import { leftOpen, type Rule, visible } from './visible';

function version(origin: string, stamp: number, image: RowImage | null, priority = 0): RowVersion {
  return { stamp, origin, priority, past: {}, deleted: image === null, image };
}

const a = version('a', 5, { id: '1', qty: '5' }, 9);
const b = version('b', 7, { id: '1', qty: '7' });
const gone = version('c', 6, null);

const rule = (strategy: Rule['strategy'], resolver?: Resolver): Rule => {
  return { strategy, resolver, keyColumns: ['id'], jsonb: new Set() };
};
const custom = (resolver: Resolver, state = [a, b]) => visible(state, rule('custom', resolver), ['1']);
const sum: Resolver = (_key, x, y) => {
  if (x.value === null || y.value === null) return x.value ?? y.value;
  return { ...x.value, qty: String(Number(x.value.qty) + Number(y.value.qty)) };
};

describe('What stands for concurrent versions', () => {
  it('is the winner by the rule, under its own name', () => {
    expect(visible([a, b], rule('last-write-wins'), ['1'])).toMatchObject({ main: b, image: b.image, open: null });
    expect(visible([a, b], rule('first-write-wins'), ['1']).main).toBe(a);
    expect(visible([a, b], rule('node-priority'), ['1']).main).toBe(a);
    expect(visible([a, gone], rule('last-write-wins'), ['1'])).toMatchObject({
      main: gone,
      image: null,
      composed: false,
    });
  });

  it('stays open under manual, with the last write meanwhile', () => {
    const shown = visible([a, b], rule('manual'), ['1']);
    expect(shown).toMatchObject({ main: b, open: { kind: 'manual' }, decidedBy: 'last-write-wins' });
    expect(visible([a], rule('manual'), ['1'])).toMatchObject({ main: a, open: null });
  });

  it('is what a resolver made, under the highest version that is a row as it is', () => {
    expect(custom(sum)).toMatchObject({ main: b, image: { id: '1', qty: '12' }, composed: true, open: null });
    expect(custom(sum, [a, gone])).toMatchObject({ main: a, image: a.image, composed: false });
    expect(custom(() => null, [a, gone, b])).toMatchObject({ main: gone, image: null, composed: false });
    expect(custom(() => null)).toMatchObject({ main: b, image: null, composed: true });
  });

  it('is given to a resolver in the order of the stamps, with names and vectors', () => {
    const calls: unknown[] = [];
    const d = version('d', 8, { id: '1', qty: '1' });
    custom((key, x, y) => (calls.push([key, x, y]), sum(key, x, y)), [d, b, a]);
    expect(calls).toEqual([
      [
        ['1'],
        { value: a.image, stamp: 5, origin: 'a', vector: { a: 5 } },
        { value: b.image, stamp: 7, origin: 'b', vector: { b: 7 } },
      ],
      [
        ['1'],
        { value: { id: '1', qty: '12' }, stamp: 7, origin: 'b', vector: { a: 5, b: 7 } },
        { value: d.image, stamp: 8, origin: 'd', vector: { d: 8 } },
      ],
    ]);
  });

  it('is the same after a resolver changed what it was given', () => {
    custom((_key, x) => Object.assign(x.value!, { qty: '0' }));
    expect(a.image).toEqual({ id: '1', qty: '5' });
  });

  it.each<[string, Resolver | undefined, string]>([
    ['is missing', undefined, 'no_resolver'],
    [
      'throws',
      () => {
        throw new Error('no');
      },
      'threw',
    ],
    [
      'throws what has no text',
      () => {
        throw Object.create(null);
      },
      'threw',
    ],
    [
      'returns what throws when it is read',
      () => ({
        id: '1',
        get qty(): string {
          throw new Error('no');
        },
      }),
      'threw',
    ],
    ['returns a NUL', () => ({ id: '1', qty: 'a\0' }), 'not_text'],
    ['returns half a character', () => ({ id: '1', qty: '\ud800' }), 'not_text'],
    ['returns nothing', (() => undefined) as unknown as Resolver, 'not_a_row'],
    ['returns a promise', (async () => a.image) as unknown as Resolver, 'not_a_row'],
    ['returns a list', (() => []) as unknown as Resolver, 'not_a_row'],
    ['makes up a column', () => ({ ...a.image, other: '1' }), 'unknown_column'],
    ['forgets a column', () => ({ id: '1' }), 'missing_column'],
    ['forgets the key', () => ({ qty: '1' }), 'missing_key'],
    ['changes the key', () => ({ ...a.image, id: '2' }), 'changed_key'],
    ['returns a number', (() => ({ id: '1', qty: 3 })) as unknown as Resolver, 'not_text'],
  ])('stays open under the last write when the resolver %s', (_, resolver, kind) => {
    const shown = visible([a, b], rule('custom', resolver), ['1']);
    expect(shown).toMatchObject({ main: b, image: b.image, open: { kind: 'resolver', failure: { kind } } });
    expect(shown.decidedBy).toBe('last-write-wins');
    if (shown.open?.kind === 'resolver') expect(describeFailure(shown.open.failure)).toMatch(/resolver/i);
  });

  it('tells what a resolver said as text that PostgreSQL takes, and not for ever', () => {
    const failureOf = (resolver: Resolver) => {
      const { open } = custom(resolver);
      return open?.kind === 'resolver' ? describeFailure(open.failure) : null;
    };
    const throws = (message: string): Resolver => {
      return () => {
        throw new Error(message);
      };
    };
    expect(failureOf(throws('no\0 idea\ud800'))).toBe('The resolver threw: no\ufffd idea\ufffd.');
    expect(failureOf(throws('no idea.'))).toBe('The resolver threw: no idea.');
    expect(failureOf(throws('x'.repeat(100_000)))!.length).toBeLessThan(2000);
    expect(failureOf(() => ({ ...b.image!, 'a\0': '1' }))).toMatch('the column "a\ufffd"');
  });

  it('does not end the process by a promise that fails', async () => {
    const unhandled = jest.fn();
    process.on('unhandledRejection', unhandled);
    try {
      const failing = (() => Promise.reject(new Error('no'))) as unknown as Resolver;
      expect(custom(failing).open).toMatchObject({ failure: { kind: 'not_a_row', got: 'a promise' } });
      await new Promise((done) => setImmediate(done));
      expect(unhandled).not.toHaveBeenCalled();
    } finally {
      process.off('unhandledRejection', unhandled);
    }
  });

  it('stays open when a resolver that runs elsewhere does not answer', () => {
    const failure = { kind: 'timed_out', limit: 200 } as const;
    expect(leftOpen([a, b], { kind: 'resolver', failure })).toMatchObject({ main: b, open: { failure } });
    expect(describeFailure(failure)).toBe('The resolver did not answer within 200 ms.');
  });
});

describe('A resolver that is checked', () => {
  const trial = { columns: { id: ['1', '2'], qty: ['0', '1', '2', '5', null] }, key: ['id'] };
  const found = (resolver: Resolver) => {
    const check = checkResolver(resolver, trial);
    return check.ok ? null : check.finding;
  };

  it('passes when it is a pure function that does not care which side comes first', () => {
    const check = checkResolver(sum, trial);
    expect(check).toMatchObject({ ok: true });
    expect(check.ok && check.sets).toBeGreaterThan(100);
  });

  it('passes when it goes by the stamps', () => {
    expect(
      found((_key, x, y) => (x.stamp > y.stamp || (x.stamp === y.stamp && x.origin > y.origin) ? x.value : y.value)),
    ).toBeNull();
  });

  it.each<[string, Resolver]>([
    ['reads the clock', (_key, x, y) => (x.value && y.value ? { ...x.value, qty: String(Date.now()) } : null)],
    ['asks for the date', (_key, x, y) => (x.value && y.value ? { ...x.value, qty: new Date().toISOString() } : null)],
    ['draws random numbers', (_key, x, y) => (Math.random() < 0.5 ? x.value : y.value)],
  ])('is found out when it %s', (_, resolver) => {
    expect(found(resolver)).toMatchObject({ kind: 'not_repeatable' });
  });

  it('is found out when the second side wins, on two versions', () => {
    expect(found((_key, _x, y) => y.value)).toMatchObject({ kind: 'depends_on_order', versions: { length: 2 } });
  });

  it('is found out when it throws or returns no row', () => {
    expect(found((_key, x) => ({ ...x.value, qty: x.value!.qty! }))).toMatchObject({ kind: 'invalid' });
  });

  it('leaves the clock and the random numbers as they were', () => {
    const [date, random] = [Date, Math.random];
    found(() => {
      throw new Error('no');
    });
    expect(globalThis.Date).toBe(date);
    expect(Math.random).toBe(random);
  });
});
