import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, eventuallyEqual, LiveNode, pause } from '../support/mesh-node';
import { Proxy } from '../support/proxy';
import { type Authority, makeAuthority } from './certificates';
import { Front, page } from './front';

const schema = 'CREATE TABLE notes (id int PRIMARY KEY, text text)';
const notes = ({ sql }: LiveNode) => sql('SELECT id, text FROM notes ORDER BY id');

/** Waits until the link to a URL has failed, and gives what the status says of it. */
async function failure(node: LiveNode, url: string): Promise<{ code: string; detail: string }> {
  let told: { code: string; detail: string } | null = null;
  await eventually('the failure is told', async () => (told = (await node.link(url)).last_error) !== null);
  return told!;
}

describe('a peer behind HTTPS, with a certificate of a private authority', () => {
  let directory: string;
  let ours: Authority;
  let others: Authority;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'pgmesh-ca-'));
    [ours, others] = await Promise.all([makeAuthority('Ours'), makeAuthority('Others')]);
    await writeFile(join(directory, 'ours.pem'), ours.ca);
    await writeFile(join(directory, 'others.pem'), others.ca);
  });
  afterAll(() => rm(directory, { recursive: true }));

  it('is reached when P2P_CA_FILE names the authority, both ways and large windows included', async () => {
    await using b = await LiveNode.start('b', schema);
    await using tls = await Proxy.to(b.port, ours.localhost);
    await using a = await LiveNode.start('a', schema, { caFile: join(directory, 'ours.pem') });
    await a.sql(`INSERT INTO notes SELECT n, repeat('from a ', 30) FROM generate_series(1, 2000) AS n`);
    await b.sql(`INSERT INTO notes VALUES (0, 'from b')`);
    await a.dial(tls.url);
    await eventuallyEqual(a, b);
    expect(await notes(a)).toHaveLength(2001);
  });

  it('is refused when the authority is another or none is named, and the status says what to do', async () => {
    await using b = await LiveNode.start('b', schema);
    await using tls = await Proxy.to(b.port, ours.localhost);
    await using a = await LiveNode.start('a', schema, { caFile: join(directory, 'others.pem') });
    await using c = await LiveNode.start('c', schema);
    await b.sql(`INSERT INTO notes VALUES (1, 'not for everyone')`);
    for (const node of [a, c]) {
      await node.dial(tls.url);
      const { code, detail } = await failure(node, tls.url);
      expect(code).toBe('unreachable');
      expect(detail).toMatch(/certificate.*P2P_CA_FILE/);
      expect(await notes(node)).toEqual([]);
    }
  });

  it('is not asked for when the file holds no certificate: the start fails, naming it', async () => {
    const path = join(directory, 'empty.pem');
    await writeFile(path, 'not a certificate\n');
    await expect(LiveNode.start('a', schema, { caFile: path })).rejects.toThrow(
      /P2P_CA_FILE=.*empty\.pem.*certificate/,
    );
  });
});

describe('a peer behind a tunnel', () => {
  it('is reached past the page that ngrok shows to browsers', async () => {
    await using b = await LiveNode.start('b', schema);
    const interstitial = ({ headers }: IncomingMessage, response: ServerResponse): boolean =>
      headers['ngrok-skip-browser-warning'] === undefined && page(response);
    await using tunnel = await Front.before(b.port, interstitial);
    await using a = await LiveNode.start('a', schema);
    await a.sql(`INSERT INTO notes VALUES (1, 'from a')`);
    await b.sql(`INSERT INTO notes VALUES (2, 'from b')`);
    await a.dial(tunnel.url);
    await eventuallyEqual(a, b);
    expect(await notes(a)).toHaveLength(2);
  });

  it.each([
    {
      what: 'a page with status 200',
      answer: (response: ServerResponse) => page(response),
      told: 'HTTP 200, text/html',
    },
    {
      what: 'a page with status 404',
      answer: (response: ServerResponse) => page(response, 404),
      told: 'HTTP 404, text/html',
    },
    {
      what: 'nothing with status 204',
      answer: (response: ServerResponse) => response.writeHead(204).end(),
      told: 'HTTP 204',
    },
    {
      what: 'JSON of its own',
      answer: (response: ServerResponse) =>
        response.writeHead(200, { 'content-type': 'application/json' }).end('{"hello":1}'),
      told: 'the answer to a greeting cannot be read',
    },
    {
      what: 'JSON without an end',
      answer: (response: ServerResponse) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        const more = setInterval(() => response.write(' '.repeat(1024 * 1024)), 1);
        response.once('close', () => clearInterval(more));
      },
      told: 'longer than',
    },
    { what: 'a closed connection', answer: (response: ServerResponse) => response.destroy(), told: 'No answer from' },
  ])('that answers $what is told as no node, and the node goes on', async ({ answer, told }) => {
    await using b = await LiveNode.start('b', schema);
    let open = false;
    await using front = await Front.before(b.port, (_request, response) => {
      if (!open) answer(response);
      return !open;
    });
    await using a = await LiveNode.start('a', schema);
    await a.dial(front.url);
    const { code, detail } = await failure(a, front.url);
    expect(code).toBe('unreachable');
    expect(detail.toLowerCase()).toContain(told.toLowerCase());
    expect(detail).toContain(front.url);
    open = true;
    await a.sql(`INSERT INTO notes VALUES (1, 'from a')`);
    await eventuallyEqual(a, b);
  });

  it('that answers a page in the place of a window is told, and nothing is applied', async () => {
    await using b = await LiveNode.start('b', schema);
    let open = false;
    await using front = await Front.before(b.port, ({ url }, response) => {
      const other = !open && url === '/p2p/window';
      if (other) page(response);
      return other;
    });
    await b.sql(`INSERT INTO notes VALUES (1, 'from b')`);
    await using a = await LiveNode.start('a', schema);
    await a.dial(front.url);
    expect((await failure(a, front.url)).detail).toMatch(/not a pgmesh node.*HTTP 200, text\/html/);
    open = true;
    await eventuallyEqual(a, b);
  });

  it('that redirects elsewhere is not followed: the secret goes nowhere else', async () => {
    const secret = 'a secret of thirty characters!';
    await using b = await LiveNode.start('b', schema, { secret });
    await using elsewhere = await Front.before(b.port, () => false);
    await using front = await Front.before(b.port, ({ url }, response) => {
      response.writeHead(307, { location: `${elsewhere.url}${url}` }).end();
      return true;
    });
    await using a = await LiveNode.start('a', schema, { secret });
    await a.dial(front.url);
    expect((await failure(a, front.url)).detail).toContain('HTTP 307');
    await pause(500);
    expect(elsewhere.requests).toEqual([]);
  });

  it('trap 15: that delivers every pushed window twice changes nothing', async () => {
    await using b = await LiveNode.start('b', schema);
    let repeated = 0;
    await using front = await Front.before(b.port, (request, response) => {
      if (request.url !== '/p2p/notify-changes') return false;
      const pieces: Buffer[] = [];
      request.on('data', (piece: Buffer) => pieces.push(piece));
      request.on('end', () => {
        const {
          host: _host,
          'transfer-encoding': _encoding,
          connection: _connection,
          'content-length': _length,
          ...headers
        } = request.headers;
        const send = () =>
          fetch(`${b.url}${request.url}`, {
            method: 'POST',
            headers: headers as Record<string, string>,
            body: Buffer.concat(pieces),
          });
        void (async () => {
          await send();
          repeated += 1;
          const answer = await send();
          response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type')! });
          response.end(await answer.text());
        })().catch(() => response.destroy());
      });
      return true;
    });
    await using a = await LiveNode.start('a', schema);
    await a.dial(front.url);
    await eventually('the link is live', async () => (await a.link('b')).state === 'live');
    for (let i = 0; i < 20; i++) await a.sql('INSERT INTO notes VALUES ($1, $2)', [i, 'once']);
    await a.sql('DELETE FROM notes WHERE id % 3 = 0');
    await eventuallyEqual(a, b);
    expect(repeated).toBeGreaterThan(0);
    expect(await notes(b)).toHaveLength(13);
  });
});
