import { formatSnapshot } from '@pgmesh/core';
import { FrameError, type Frame, Problem, protocolVersion, type RowsFrame, type WindowFrame } from '@pgmesh/wire';
import { contents, expectEqual, settle, type StoreNode, storeNode } from '../support/store-node';

const schema = `CREATE TABLE notes (id int PRIMARY KEY, body text, n int); CREATE TABLE hidden (id int PRIMARY KEY, secret text);
  INSERT INTO notes VALUES (1, 'ours', 1); INSERT INTO hidden VALUES (1, 'unshared');`;
const evil = 'mallory~0123456789ab';
const now = Date.now() * 1000;
const beginning = formatSnapshot({ xmax: 0n, xip: [] });

const head = (more: Partial<WindowFrame> = {}): WindowFrame => ({
  type: 'window',
  protocol: protocolVersion,
  node: 'mallory',
  epoch: '0123456789ab',
  kind: 'copy',
  from: '9:',
  to: '9:',
  more: false,
  tables: ['public.notes'],
  at: null,
  next: null,
  knowledge: {},
  guards: {},
  whole: [],
  ...more,
});
const rows = (
  more: Partial<
    Record<
      | 'stamp'
      | 'origin'
      | 'priority'
      | 'past'
      | 'fields'
      | 'siblings'
      | 'deleted'
      | 'made_in'
      | 'made_xid'
      | 'id'
      | 'body',
      string
    >
  > = {},
  over: Partial<RowsFrame> = {},
): RowsFrame => {
  const {
    stamp = `{${now}}`,
    origin = `{${evil}}`,
    priority = '{0}',
    past = '{NULL}',
    fields = '{NULL}',
    siblings = '{NULL}',
    deleted = '{f}',
    made_in = '{NULL}',
    made_xid = '{5}',
    id = '{7}',
    body = '{theirs}',
  } = more;
  return {
    type: 'rows',
    table: 'public.notes',
    columns: ['id', 'body'],
    count: 1,
    deleted: 0,
    literals: [stamp, origin, priority, past, fields, siblings, deleted, made_in, made_xid, id, body],
    ...over,
  };
};
/** The same of two rows. */
const two = (more: Parameters<typeof rows>[0], table = 'public.notes'): RowsFrame => {
  const { literals, ...one } = rows({ body: '{x,y}', ...more }, { count: 2, table });
  return {
    ...one,
    literals: literals.map((text) => (text.includes(',') ? text : text.replace(/^\{(.*)\}$/, '{$1,$1}'))),
  };
};
const end = (count = 1): Frame => ({ type: 'end', rows: count });
const json = (value: unknown) => `{"${JSON.stringify(value).replace(/([\\"])/g, '\\$1')}"}`;
const sibling = (more: object = {}) => ({
  stamp: now - 5,
  origin: evil,
  priority: 0,
  past: null,
  deleted: false,
  image: { id: '7', body: 'x' },
  ...more,
});
const copy = (data: string, count = 1, table = 'public.notes'): Frame[] => [
  { type: 'copy', table, columns: ['id', 'body'] },
  { type: 'data', bytes: Buffer.from(data) },
  { type: 'copied', table, count },
];
const line = (...fields: (string | number)[]) => `${fields.join('\t')}\n`;
const row = (id: string) => line(now, evil, 0, '\\N', '\\N', '\\N', 'f', '\\N', 5, id, 'theirs');
const good = row('7');

/** What is sent, and the status that answers it. */
const windows: Record<string, [status: number, ...frames: Frame[]]> = {
  'no head': [400, rows(), end()],
  'two heads': [400, head(), head(), end(0)],
  'no end': [400, head(), rows()],
  'another end': [400, head(), rows(), end(2)],
  'a table twice': [400, head(), rows(), rows({ id: '{8}' }), end(2)],
  'another protocol': [409, head({ protocol: 99 }), end(0)],
  'our own name': [409, head({ node: 'a' }), rows(), end()],
  'a node of no name': [400, head({ node: `x'; DROP TABLE notes; --` }), rows(), end()],
  'an epoch that is none': [400, head({ epoch: 'A B' }), rows(), end()],
  'a snapshot that is none': [400, head({ to: 'x' }), rows(), end()],
  'an unknown table': [404, head({ tables: ['public.nothing'] }), rows({}, { table: 'public.nothing' }), end()],
  'a table not shared': [404, head({ tables: ['public.hidden'] }), rows({}, { table: 'public.hidden' }), end()],
  'a table of ours': [404, head({ tables: ['p2p.node'] }), rows({}, { table: 'p2p.node' }), end()],
  'a table outside the head': [404, head({ tables: ['public.other'] }), rows(), end()],
  'a table that is SQL': [
    404,
    head({ tables: ['x"; DROP TABLE notes; --'] }),
    rows({}, { table: 'x"; DROP TABLE notes; --' }),
    end(),
  ],
  'an unknown column': [422, head(), rows({}, { columns: ['id', 'nothing'] }), end()],
  'a column that is SQL': [
    422,
    head(),
    rows({}, { columns: ['id', `body") VALUES (1); DROP TABLE notes; --`] }),
    end(),
  ],
  'a column twice': [422, head(), rows({}, { columns: ['id', 'id'] }), end()],
  'no key': [422, head(), rows({}, { columns: ['body', 'n'] }), end()],
  'too few literals': [400, head(), rows({}, { literals: ['{1}'] }), end()],
  'more rows than announced': [
    400,
    head(),
    rows({ id: '{7,8}', stamp: `{${now},${now}}`, origin: `{${evil},${evil}}`, priority: '{0,0}', deleted: '{f,f}' }),
    end(),
  ],
  'fewer rows than announced': [400, head(), rows({}, { count: 3 }), end(3)],
  'a column shorter than the others': [400, head(), rows({ body: '{}' }), end()],
  'deletes that were not announced': [400, head(), rows({ deleted: '{t}' }), end()],
  'literals that are none': [422, head(), rows({ body: 'x' }), end()],
  'a literal that closes the statement': [422, head(), rows({ id: `{7}'); DROP TABLE notes; --` }), end()],
  'a value of another type': [422, head(), rows({ id: '{seven}' }), end()],
  'a number too large': [422, head(), rows({ id: '{99999999999}' }), end()],
  'no value for the key': [422, head(), rows({ id: '{NULL}' }), end()],
  'a negative stamp': [422, head(), rows({ stamp: '{-5}' }), end()],
  'a stamp of nought': [422, head(), rows({ stamp: '{0}' }), end()],
  'a stamp that is a text': [422, head(), rows({ stamp: '{x}' }), end()],
  'no stamp': [422, head(), rows({ stamp: '{NULL}' }), end()],
  'a stamp of 2^53': [422, head(), rows({ stamp: '{9007199254740993}' }), end()],
  'a stamp of 2^63 - 1': [422, head(), rows({ stamp: '{9223372036854775807}' }), end()],
  'a stamp of 2^63': [422, head(), rows({ stamp: '{9223372036854775808}' }), end()],
  'no origin': [422, head(), rows({ origin: '{NULL}' }), end()],
  'an origin that is no name': [422, head(), rows({ origin: `{"<script>"}` }), end()],
  'no deleted': [422, head(), rows({ deleted: '{NULL}' }), end()],
  'deleted perhaps': [422, head(), rows({ deleted: '{perhaps}' }), end()],
  'a past that is a list': [422, head(), rows({ past: json([1]) }), end()],
  'a past that is a number': [422, head(), rows({ past: '{1}' }), end()],
  'a past that is no JSON': [422, head(), rows({ past: '{x}' }), end()],
  'a past with texts': [422, head(), rows({ past: json({ 'b~0123456789ab': 'x' }) }), end()],
  'a past with lists': [422, head(), rows({ past: json({ 'b~0123456789ab': [1] }) }), end()],
  'a past with fractions': [422, head(), rows({ past: json({ 'b~0123456789ab': 1.5 }) }), end()],
  'a past later than the version': [422, head(), rows({ past: json({ 'b~0123456789ab': now + 1 }) }), end()],
  'a past beyond all numbers': [422, head(), rows({ past: '{"{\\"b~0123456789ab\\": 1e300}"}' }), end()],
  'a past of its own': [422, head(), rows({ past: json({ [evil]: now - 1 }) }), end()],
  'a past of 100,000 nodes': [
    422,
    head(),
    rows({ past: json(Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`n${i}~0123456789ab`, i + 1]))) }),
    end(),
  ],
  'siblings that are no list': [422, head(), rows({ siblings: json({}) }), end()],
  'siblings of which there are none': [422, head(), rows({ siblings: json([]) }), end()],
  'siblings that are numbers': [422, head(), rows({ siblings: json([1]) }), end()],
  'a sibling without a stamp': [422, head(), rows({ siblings: json([sibling({ stamp: undefined })]) }), end()],
  'a sibling with a stamp ahead': [
    422,
    head(),
    rows({ siblings: json([sibling({ stamp: 9007199254740000 })]) }),
    end(),
  ],
  'a sibling with a stamp that is a text': [422, head(), rows({ siblings: json([sibling({ stamp: '5' })]) }), end()],
  'a sibling with no image': [422, head(), rows({ siblings: json([sibling({ image: null })]) }), end()],
  'a sibling with an image of lists': [
    422,
    head(),
    rows({ siblings: json([sibling({ image: { id: '7', body: ['x'] } })]) }),
    end(),
  ],
  'a sibling of another row': [
    422,
    head(),
    rows({ siblings: json([sibling({ image: { id: '1', body: 'x' } })]) }),
    end(),
  ],
  'a sibling with a past that is a text': [422, head(), rows({ siblings: json([sibling({ past: 'x' })]) }), end()],
  'a sibling with a past of texts': [422, head(), rows({ siblings: json([sibling({ past: { b: 'x' } })]) }), end()],
  'a sibling neither deleted nor not': [422, head(), rows({ siblings: json([sibling({ deleted: null })]) }), end()],
  'a new row twice': [422, head(), two({}), end(2)],
  'a row of ours twice': [422, head(), two({ id: '{1}' }), end(2)],
  'a row of ours twice, newer': [422, head(), two({ id: '{1}', stamp: `{${now},${now + 1}}`, past: '{OURS}' }), end(2)],
  'COPY that is none': [422, head(), ...copy('nothing\n'), end()],
  'COPY of too many columns': [422, head(), ...copy(good.replace('\n', '\tmore\n')), end()],
  'COPY of a wrong count': [400, head(), ...copy(good, 2), end(2)],
  'COPY that ends by itself': [400, head(), ...copy(`${good}\\.\n${good}`, 2), end(2)],
  'COPY that is cut off': [400, head(), ...copy(good).slice(0, 2)],
  'COPY with another frame inside': [400, head(), ...copy(good).slice(0, 2), rows(), end()],
  'COPY of a row twice': [422, head(), ...copy(good + good, 2), end(2)],
  'COPY of one new row after one refused': [
    422,
    head(),
    ...copy(good + line(now, evil, 0, '[]', '\\N', '\\N', 'f', '\\N', 5, 8, 'x'), 2),
    end(2),
  ],
  'COPY with invalid UTF-8': [
    422,
    head(),
    { type: 'copy', table: 'public.notes', columns: ['id', 'body'] },
    { type: 'data', bytes: Buffer.from([0x31, 0xff, 0xfe, 0x0a]) },
    { type: 'copied', table: 'public.notes', count: 1 },
    end(),
  ],
  'data outside a COPY': [400, head(), { type: 'data', bytes: Buffer.from('x') }, end()],
  'more literals than are held': [413, head(), rows({ body: `{${'x'.repeat(17 * 1024 * 1024)}}` }), end()],
};

async function* sent(frames: readonly Frame[]): AsyncGenerator<Frame> {
  yield* frames;
}

async function state(node: StoreNode): Promise<unknown> {
  const open = await node.sql(
    `SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'`,
  );
  return {
    open,
    notes: await contents(node, 'notes'),
    hidden: await node.sql('SELECT * FROM hidden'),
    positions: await node.sql('SELECT node FROM p2p.position'),
  };
}

describe('A hostile window', () => {
  it('ends in a refusal that says why, and changes nothing', async () => {
    await using a = await storeNode('a', schema, ['notes']);
    const before = await state(a);
    const [{ past }] = (await a.sql<{ past: string }>(
      `SELECT jsonb_build_object(origin, stamp)::text AS past FROM p2p.meta_1`,
    )) as [{ past: string }];
    const wrong: Record<string, unknown> = {};
    for (const [name, [status, ...frames]] of Object.entries(windows)) {
      const literal = past.replace(/"/g, '\\"');
      const filled = frames.map((frame) =>
        frame.type === 'rows'
          ? { ...frame, literals: frame.literals.map((text) => text.replaceAll('OURS', `"${literal}"`)) }
          : frame,
      );
      const answer = await a.store.inbox.apply(sent(filled)).then(
        ({ outcome }) => outcome,
        (error: unknown) =>
          error instanceof FrameError ? 400 : error instanceof Problem ? error.status : String((error as Error).stack),
      );
      if (answer !== status) wrong[name] = answer;
      expect({ name, ...((await state(a)) as object) }).toEqual({ name, ...(before as object) });
    }
    expect(wrong).toEqual({});
    await using b = await storeNode('b', schema.replace(/INSERT.*/s, ''), ['notes']);
    await settle(a, b);
    await expectEqual(a, b);
  });

  it('that has a row twice is refused, however its key is written: of a collation that ignores case, of a number', async () => {
    await using a = await storeNode(
      'a',
      `CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
       CREATE TABLE names (id text COLLATE nocase PRIMARY KEY, body text); CREATE TABLE prices (id numeric PRIMARY KEY, body text)`,
      ['names', 'prices'],
    );
    const twice = (table: string, one: string, other: string): Frame[][] => [
      [two({ id: `{${one},${other}}` }, table), end(2)],
      [...copy(row(one) + row(other), 2, table), end(2)],
    ];
    for (const [table, one, other] of [
      ['public.names', 'ann', 'ANN'],
      ['public.prices', '1.0', '1.00'],
    ] as const) {
      for (const frames of twice(table, one, other)) {
        const refusal = a.store.inbox.apply(sent([head({ tables: [table] }), ...frames]));
        await expect(refusal).rejects.toMatchObject({ code: 'invalid_version' });
      }
      expect(await a.sql(`SELECT id FROM ${table}`)).toEqual([]);
    }
  });

  it('is taken when there is nothing wrong with it', async () => {
    await using a = await storeNode('a', schema, ['notes']);
    expect((await a.store.inbox.apply(sent([head(), ...copy(good), end()]))).outcome).toBe('applied');
    const later = rows({
      stamp: `{${now + 1}}`,
      siblings: json([sibling({ origin: 'eve~0123456789ab', past: { 'b~0123456789ab': now - 6 } })]),
    });
    expect(
      (await a.store.inbox.apply(sent([head({ kind: 'window', from: '9:', to: '10:' }), later, end()]))).outcome,
    ).toBe('applied');
    expect(await a.sql(`SELECT body FROM notes WHERE id = 7`)).toEqual([{ body: 'theirs' }]);
    expect(beginning).toBe('0:');
  });

  it('whose sender falls silent holds no lock, and leaves nothing behind when it is cut off', async () => {
    await using a = await storeNode('a', schema, ['notes']);
    let cut = (): void => undefined;
    const silence = new Promise<void>((_, reject) => (cut = () => reject(new FrameError('cut'))));
    async function* slow(): AsyncGenerator<Frame> {
      yield head();
      yield* copy(good).slice(0, 2);
      await silence;
    }
    const waiting = a.store.inbox.apply(slow()).catch((error: unknown) => error);
    await a.sql(`UPDATE notes SET body = 'mine'`);
    await a.sql(`BEGIN; LOCK TABLE notes IN ACCESS EXCLUSIVE MODE; COMMIT`);
    await a.store.inbox.apply(sent([head(), ...copy(good), end()]));
    cut();
    expect(await waiting).toBeInstanceOf(FrameError);
    expect(((await state(a)) as { open: unknown }).open).toEqual([{ n: 0 }]);
  });

  it('does not take the process with it when its connection ends under it', async () => {
    await using a = await storeNode('a', schema, ['notes']);
    let go = (): void => undefined;
    const pause = new Promise<void>((resolve) => (go = resolve));
    async function* slow(): AsyncGenerator<Frame> {
      yield head();
      yield* copy(good).slice(0, 2);
      await pause;
      yield* copy(good).slice(2);
      yield end();
    }
    const waiting = a.store.inbox.apply(slow()).catch((error: unknown) => error);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await a.sql(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'pgmesh'`,
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    go();
    expect(await waiting).toMatchObject({ code: 'unavailable' });
    expect((await a.store.inbox.apply(sent([head(), ...copy(good), end()]))).outcome).toBe('applied');
  });
});
