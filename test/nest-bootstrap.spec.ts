/** A bootstrap node over HTTP: who is let in, what is refused, and what a node that is none says. */
import { configurationOf, ConfigurationError } from '@pgmesh/nest';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startBootstrap } from '../apps/bootstrap/src/bootstrap';
import { bootstrapConfiguration } from '../apps/bootstrap/src/configuration';
import { TEMPORARY } from './support/database';
import { raw, startEdge } from './support/edge-node';

const json = { 'content-type': 'application/json' };
const who = (node_id: string) => ({ node_id, instance: `of ${node_id}`, room: 'default' });
const registration = (node_id: string, urls: string[] = []) => ({ ...who(node_id), protocol: 1, urls });
const long = 'x'.repeat(64);

let dataDir: string;
beforeAll(async () => (dataDir = await mkdtemp(join(tmpdir(), TEMPORARY))));
afterAll(() => rm(dataDir, { recursive: true }));

async function start(settings: Record<string, string> = {}) {
  const directory = await mkdtemp(join(dataDir, 'register-'));
  const own = { API_PORT: '0', P2P_HOST: '127.0.0.1', P2P_LOG_LEVEL: 'silent', P2P_DATA_DIR: directory };
  return startBootstrap(bootstrapConfiguration({ ...own, ...settings }));
}

async function post(url: string, message: string, body: unknown, headers: Record<string, string> = json) {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const answer = await raw(url, { method: 'POST', path: `/p2p/bootstrap/${message}`, headers, body: text });
  return { ...answer, document: JSON.parse(answer.text) as Record<string, unknown> };
}

describe('a bootstrap node', () => {
  it('answers its messages', async () => {
    await using node = await start();
    expect(await post(node.url, 'reg', registration('a', ['http://a:1']))).toMatchObject({
      status: 200,
      document: { lease_ms: 60_000, registered: 1 },
    });
    expect(await post(node.url, 'join', who('a'))).toMatchObject({
      status: 200,
      document: { neighbours: [], joined: 1 },
    });
    expect((await post(node.url, 'leave', who('a'))).document).toEqual({ done: true });
    expect((await post(node.url, 'unreg/', who('a'))).document).toEqual({ done: true });
    expect((await post(node.url, 'unreg', who('a'))).document).toEqual({ done: false });
    expect((await raw(node.url, { path: '/health/ready' })).status).toBe(200);
    const { paths } = JSON.parse((await raw(node.url, { path: '/docs-json' })).text) as { paths: object };
    expect(Object.keys(paths)).toEqual(expect.arrayContaining(['/p2p/bootstrap/reg', '/p2p/bootstrap/{room}']));
  });

  it.each([
    ['no JSON', 'reg', '{"node_id": ', 400],
    ['nothing', 'reg', {}, 400],
    ['__proto__', 'reg', '{"__proto__": {}}', 400],
    ['a name without end', 'reg', registration(long), 400],
    ['a name with markup', 'reg', registration('<script>'), 422],
    ['addresses without end', 'reg', registration('a', Array<string>(5).fill('http://a')), 400],
    ['an address without end', 'reg', registration('a', [`http://${'a'.repeat(600)}`]), 400],
    ['a link-local address', 'reg', registration('a', ['http://169.254.169.254']), 422],
    ['an address with a password', 'reg', registration('a', ['http://me:pa55word@host']), 422],
    ['a file', 'reg', registration('a', ['file:///etc/passwd']), 422],
    ['another protocol', 'reg', { ...registration('a'), protocol: 9 }, 409],
    ['a lease that is not there', 'join', who('stranger'), 404],
    ['more neighbours than there may be', 'join', { ...who('a'), count: 1e9 }, 400],
    ['an unknown message', 'ping', {}, 404],
    ['2 MB', 'reg', { ...registration('a'), more: 'x'.repeat(2_000_000) }, 413],
  ])('refuses %s', async (_what, message, body, status) => {
    await using node = await start();
    const answer = await post(node.url, message, body);
    expect(answer).toMatchObject({ status, headers: { 'content-type': 'application/problem+json' } });
    expect(answer.text).not.toMatch(/pa55word|<script>/);
    expect((await raw(node.url, { path: '/p2p/bootstrap' })).text).toContain('"rooms":[]');
  });

  it('takes JSON alone', async () => {
    await using node = await start();
    expect((await post(node.url, 'reg', registration('a'), { 'content-type': 'text/plain' })).status).toBe(415);
  });

  it('refuses newcomers to a room that is full, with 429 and when to come again; those who are there renew', async () => {
    await using node = await start();
    const most = 2_000;
    for (let from = 0; from < most; from += 100) {
      await Promise.all(Array.from({ length: 100 }, (_, i) => post(node.url, 'reg', registration(`n${from + i}`))));
    }
    const refused = await post(node.url, 'reg', registration('one-more'));
    expect(refused).toMatchObject({ status: 429, headers: { 'retry-after': '60' }, document: { code: 'too_many' } });
    expect((await post(node.url, 'reg', registration('n0'))).status).toBe(200);
  });

  it('asks for the secret everywhere but for its health, and without one serves this machine alone', async () => {
    const secret = 'correct-horse-battery-staple';
    await using node = await start({ P2P_SECRET: secret });
    const status = async (headers: Record<string, string>) =>
      (await post(node.url, 'reg', registration('a'), { ...json, ...headers })).status;
    expect(await status({})).toBe(401);
    expect(await status({ authorization: 'Bearer wrong' })).toBe(401);
    expect(await status({ authorization: `Bearer ${secret}` })).toBe(200);
    for (const path of ['/p2p/bootstrap', '/p2p/bootstrap/default', '/P2P/bootstrap', '//p2p/bootstrap']) {
      expect((await raw(node.url, { path })).status).not.toBe(200);
    }
    expect((await raw(node.url, { path: '/health/live' })).status).toBe(200);

    await using open = await start();
    const foreign = async (headers: Record<string, string>) =>
      (await raw(open.url, { path: '/p2p/bootstrap', headers })).status;
    expect(await foreign({ host: 'evil.example' })).toBe(403);
    expect(await foreign({ origin: 'https://evil.example' })).toBe(403);
    expect(await foreign({})).toBe(200);
    expect(() => bootstrapConfiguration({ P2P_HOST: '0.0.0.0' })).toThrow(ConfigurationError);
    expect(() => bootstrapConfiguration({ P2P_HOST: '0.0.0.0', P2P_ENABLED: 'false' })).toThrow(ConfigurationError);
  });
});

describe('a node of the mesh', () => {
  it('is a bootstrap node when it is told to be one, and says so when it is none', async () => {
    await using none = await startEdge();
    expect(await post(none.url, 'reg', registration('a'))).toMatchObject({
      status: 404,
      document: { detail: expect.stringContaining('P2P_BOOTSTRAP_SERVE') as string },
    });
    await using one = await startEdge({ bootstrapServe: true, dataDir });
    expect((await post(one.url, 'reg', registration('a'))).status).toBe(200);
  });

  it('does not start where it could not keep the register', async () => {
    const configuration = { bootstrapServe: true, dataDir: join(__dirname, '../package.json') };
    await expect(startEdge(configuration)).rejects.toThrow(/cannot be kept.*P2P_DATA_DIR/);
    expect(() => configurationOf({ discovery: ['bootstrap'] })).toThrow(/P2P_BOOTSTRAP_URL is not set/);
  });
});
