import { windowContentType } from '@pgmesh/wire';
import { createGzip } from 'node:zlib';
import { type EdgeNode, raw, startEdge } from './support/edge-node';

const json = { 'content-type': 'application/json' };
let node: EdgeNode;

beforeAll(async () => {
  node = await startEdge();
});
afterAll(() => node[Symbol.asyncDispose]());

const get = (path: string, headers: Record<string, string> = {}) => raw(node.url, { path, headers });
const post = (path: string, body: Buffer | string, headers: Record<string, string> = json) =>
  raw(node.url, { method: 'POST', path, headers, body });

async function refused(asked: ReturnType<typeof get>, status: number): Promise<Record<string, unknown>> {
  const { headers, text, status: answered } = await asked;
  expect({ status: answered, type: headers['content-type'] }).toEqual({ status, type: 'application/problem+json' });
  const document = JSON.parse(text) as Record<string, unknown>;
  expect(document).toMatchObject({ status, type: expect.stringMatching(/^urn:pgmesh:problem:/) as string });
  return document;
}

describe('trap hostile 400: what cannot be read is refused', () => {
  const hello = JSON.stringify({ protocol: 1 });
  it.each([
    ['bad JSON', '{"peer_id": '],
    ['a bare value', '3'],
    ['__proto__', '{"__proto__": {"admin": true}}'],
    ['__proto__ inside', '{"peer_id": "a", "x": {"__proto__": 1}}'],
    ['nesting of 10,000', '{"tables":' + '['.repeat(10_000) + ']'.repeat(10_000) + '}'],
    ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xc3, 0x28, 0x22, 0x7d])],
    ['an unknown member', '{"peers": 1}'],
    ['a value of another type', '{"peer_id": 5}'],
  ])('%s', async (_what, body) => {
    await refused(post('/p2p/sync/bidirectional', body), 400);
    await refused(post('/p2p/notify-changes', body), 400);
    await refused(post('/p2p/hello', body), 400);
  });

  it.each([
    ['bad JSON', '{"row": '],
    ['__proto__', '{"row": {"__proto__": "x"}}'],
    ['a list for a row', '{"row": []}'],
    ['a text for a row', '{"row": "x"}'],
    ['a value that is no text', '{"row": {"x": true}}'],
    ['a nested value', '{"row": {"x": {"y": "z"}}}'],
    ['nesting of 10,000', '{"row": {"x": ' + '['.repeat(10_000) + ']'.repeat(10_000) + '}}'],
    ['a stamp that is no whole number', '{"version": {"stamp": 1.5, "origin": "a"}}'],
    ['a stamp beyond 2^53', '{"version": {"stamp": 9007199254740993, "origin": "a"}}'],
    ['a version without origin', '{"version": {"stamp": 1}}'],
    ['an unknown member', '{"row": null, "x": 1}'],
    ['nothing', '{}'],
    ['both', '{"row": null, "version": {"stamp": 1, "origin": "a"}}'],
  ])('a decision of a conflict: %s', async (_what, body) => {
    node.store.asked = [];
    await refused(post('/p2p/conflicts/1/resolve', body), 400);
    expect(node.store.asked).toEqual([]);
  });

  it.each([
    'limit=0',
    'limit=-1',
    'limit=501',
    'limit=1e2',
    'status=closed',
    'status=',
    'x=1',
    'status=open&status=open',
  ])('conflicts?%s', async (query) => {
    await refused(get(`/p2p/conflicts?${query}`), 400);
  });

  it.each(['x', '-1', '1.5', '0x1', '9'.repeat(40), '%00', '1;2'])(
    'a conflict whose id is %s is not there',
    async (id) => {
      await refused(get(`/p2p/conflicts/${id}`), 404);
      await refused(post(`/p2p/conflicts/${id}/resolve`, '{"row": null}'), 404);
    },
  );

  it.each([
    ['bad JSON', '{"row": '],
    ['__proto__', '{"row": {"__proto__": "x"}}'],
    ['a list for a row', '{"row": []}'],
    ['a text for a row', '{"row": "x"}'],
    ['null for a row', '{"row": null}'],
    ['a value that is no text', '{"row": {"x": true}}'],
    ['a nested value', '{"row": {"x": {"y": "z"}}}'],
    ['nesting of 10,000', '{"row": {"x": ' + '['.repeat(10_000) + ']'.repeat(10_000) + '}}'],
    ['an unknown member', '{"row": {}, "x": 1}'],
    ['nothing', '{}'],
    ['a list', '[]'],
    ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0xc3, 0x28, 0x22, 0x7d])],
  ])('a change of a parked row: %s', async (_what, body) => {
    node.store.asked = [];
    await refused(post('/p2p/parked/1/change', body), 400);
    expect(node.store.asked).toEqual([]);
  });

  it.each(['{"row": {}}', '{"force": true}', '[]', '"x"', '{'])(
    'discard and retry with a body that says what they do not know: %s',
    async (body) => {
      node.store.asked = [];
      await refused(post('/p2p/parked/1/discard', body), 400);
      await refused(post('/p2p/parked/retry', body), 400);
      expect(node.store.asked).toEqual([]);
    },
  );

  it.each(['limit=0', 'limit=-1', 'limit=501', 'limit=1e2', 'limit=', 'status=open', 'x=1', 'limit=1&limit=2'])(
    'parked?%s',
    async (query) => {
      await refused(get(`/p2p/parked?${query}`), 400);
    },
  );

  it.each(['x', '-1', '1.5', '0x1', '9'.repeat(40), '%00', '1;2', 'retry'])(
    'a parked row whose id is %s is not there',
    async (id) => {
      await refused(get(`/p2p/parked/${id}`), 404);
      await refused(post(`/p2p/parked/${id}/discard`, '{}'), 404);
      await refused(post(`/p2p/parked/${id}/change`, '{"row": {}}'), 404);
    },
  );

  it('parked rows of a table that is not shared', async () => {
    await refused(get('/p2p/parked?table=users'), 404);
    await refused(get(`/p2p/parked?table=${encodeURIComponent('x"; DROP TABLE users; --')}`), 404);
  });

  it('a greeting without its members', async () => {
    await refused(post('/p2p/hello', hello), 400);
  });

  it.each([
    '{}',
    '{"version": 1}',
    '{"version": {"stamp": "1", "origin": "a"}}',
    '{"version": {"stamp": -1, "origin": "a"}}',
    '{"version": {"stamp": 1.5, "origin": "a"}}',
    '{"version": {"stamp": 1e300, "origin": "a"}}',
    '{"version": {"stamp": 1, "origin": ""}}',
    '{"version": {"stamp": 1, "origin": "a", "row": {}}}',
    '{"version": {"__proto__": {"stamp": 1, "origin": "a"}}}',
  ])('restore of %s', async (body) => {
    await refused(post('/p2p/table/products/rows/1/restore', body), 400);
  });

  it.each([
    'limit=-1',
    'limit=1e9',
    'limit=0',
    'limit=10001',
    'limit=',
    'limit=1&limit=2',
    'wait=61',
    'wait=-1',
    'x=1',
  ])('changes?%s', async (query) => {
    await refused(get(`/p2p/table/products/changes?${query}`), 400);
  });

  it.each([
    'since=yesterday',
    'since=2026-02-31T00:00:00Z',
    'since=1',
    "since='; DROP TABLE users".replaceAll(' ', '%20'),
  ])('a since that is no time: %s', async (query) => {
    await refused(get(`/p2p/table/products/changes?${query}`), 400);
  });

  it.each(['2026-01-31', '2026-01-31T10:00:00', '2026-01-31T10:00:00Z', '2026-01-31T10:00:00+02:00'])(
    'but since=%s is one',
    async (since) => {
      expect((await get(`/p2p/table/products/changes?since=${since}`)).status).toBe(200);
    },
  );

  it('a window that is none', async () => {
    const cutOff = Buffer.from([0x00, 0x00, 0xff, 0xff, 0]);
    await refused(post('/p2p/notify-changes', cutOff, { 'content-type': windowContentType }), 400);
    await refused(post('/p2p/notify-changes', Buffer.alloc(4), { 'content-type': windowContentType }), 400);
    await refused(
      post('/p2p/notify-changes', 'x', { 'content-type': windowContentType, 'content-encoding': 'gzip' }),
      400,
    );
  });

  it('a path that is not percent-encoded UTF-8', async () => {
    await refused(get('/p2p/table/%ff%fe/changes'), 400);
  });
});

describe('trap hostile 404: unknown and unshared tables look the same', () => {
  it('in every spelling', async () => {
    const names = [
      'x"; DROP TABLE users; --',
      'pg_catalog.pg_authid',
      '../../etc',
      'users',
      '__proto__',
      'constructor',
    ];
    const paths = [...names.map(encodeURIComponent), '..%2f..%2fetc'];
    const bodies = await Promise.all(
      paths.map(async (name) => JSON.stringify(await refused(get(`/p2p/table/${name}/changes`), 404))),
    );
    expect(new Set(bodies).size).toBe(1);
    expect(node.store.asked.map(String).join()).not.toMatch(/pg_authid|DROP TABLE/);
  });

  it('as are paths that lead nowhere, and peers that are none', async () => {
    await refused(get('/p2p/nothing'), 404);
    await refused(raw(node.url, { method: 'DELETE', path: '/p2p/peers/nobody' }), 404);
    await refused(post('/p2p/sync/bidirectional', '{"peer_id":"nobody"}'), 404);
  });
});

describe('trap hostile 405: TRACE', () => {
  it.each(['/', '/p2p/status', '/p2p/parked', '/health/live'])('is not answered at %s', async (path) => {
    await refused(raw(node.url, { method: 'TRACE', path, headers: { cookie: 'a=b' } }), 405);
  });
});

describe('trap hostile 413: too large', () => {
  it('a frame that announces more bytes than one may have', async () => {
    const frame = Buffer.from([0xff, 0xff, 0xff, 0xff, 0x00]);
    await refused(post('/p2p/notify-changes', frame, { 'content-type': windowContentType }), 413);
  });

  it('a row above 1 MB for a parked one', async () => {
    await refused(post('/p2p/parked/1/change', JSON.stringify({ row: { x: 'x'.repeat(2_000_000) } })), 413);
  });

  it('a JSON body above 1 MB', async () => {
    await refused(post('/p2p/hello', JSON.stringify({ room: 'x'.repeat(2_000_000) })), 413);
  });

  it.each([
    [windowContentType, 'a'],
    [windowContentType, '\0'],
    ['application/json', ' '],
  ])('a 1 MB gzip body that inflates to 1 GB, as %s of %j, in bounded memory', async (type, filling) => {
    const bomb = await gigabyte(filling);
    expect(bomb.length).toBeLessThan(1_100_000);
    global.gc?.();
    const before = process.memoryUsage().rss;
    let highest = before;
    const watch = setInterval(() => (highest = Math.max(highest, process.memoryUsage().rss)), 5);
    try {
      await refused(post('/p2p/notify-changes', bomb, { 'content-type': type, 'content-encoding': 'gzip' }), 413);
    } finally {
      clearInterval(watch);
    }
    expect(Math.max(highest, process.memoryUsage().rss) - before).toBeLessThan(32 * 1024 * 1024);
  });
});

describe('trap hostile 415: unknown encodings and types', () => {
  it.each([
    ['/p2p/hello', { 'content-type': 'text/plain' }],
    ['/p2p/hello', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['/p2p/hello', { ...json, 'content-encoding': 'zip' }],
    ['/p2p/hello', { 'content-type': 'application/json; charset=klingon' }],
    ['/p2p/window', { 'content-type': windowContentType }],
    ['/p2p/notify-changes', { 'content-type': 'application/xml' }],
    ['/p2p/notify-changes', { 'content-type': windowContentType, 'content-encoding': 'compress' }],
    ['/p2p/peers', { 'content-type': 'text/json' }],
    ['/p2p/parked/1/change', { 'content-type': 'text/plain' }],
    ['/p2p/parked/retry', { 'content-type': 'application/xml' }],
  ])('%s with %j', async (path, headers) => {
    await refused(post(path, '{}', headers), 415);
  });
});

describe('trap hostile 503: the database is away', () => {
  it('is said, and is over when the database is back', async () => {
    node.store.away = true;
    const asked = [
      () => get('/p2p/status'),
      () => get('/p2p/parked'),
      () => post('/p2p/parked/retry', '{}'),
      () => get('/p2p/table/products/changes'),
      () => get('/health/ready'),
    ];
    for (const ask of asked) {
      const answer = await ask();
      await refused(Promise.resolve(answer), 503);
      expect(answer.headers['retry-after']).toBe('1');
    }
    expect((await get('/health/live')).status).toBe(200);
    node.store.away = false;
    for (const ask of asked) expect((await ask()).status).toBe(200);
  });
});

async function gigabyte(filling: string): Promise<Buffer> {
  const known = bombs.get(filling);
  if (known) return known;
  const piece = Buffer.alloc(16 * 1024 * 1024, filling);
  const gzip = createGzip({ level: 9 });
  const pieces: Buffer[] = [];
  gzip.on('data', (data: Buffer) => pieces.push(data));
  for (let written = 0; written < 1024; written += 16) {
    await new Promise<void>((resolve, reject) => gzip.write(piece, (error) => (error ? reject(error) : resolve())));
  }
  await new Promise<void>((resolve) => gzip.end(resolve));
  const bomb = Buffer.concat(pieces);
  bombs.set(filling, bomb);
  return bomb;
}
const bombs = new Map<string, Buffer>();
