/** What a node makes of whatever answers at the address of a bootstrap node. */
import {
  createServer as createHttp,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttps } from 'node:https';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { HttpBootstrapClient } from '../libs/discovery/src';
import { makeAuthority } from './mesh/certificates';

const who = { node_id: 'a', instance: 'i', room: 'r' };
const never = new AbortController().signal;

async function serving(server: Server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function answerOf(listener: RequestListener) {
  await using server = await serving(createHttp(listener));
  const client = new HttpBootstrapClient({});
  try {
    return await client.send(`http://127.0.0.1:${server.port}`, 'join', who, never);
  } finally {
    await client.close();
  }
}

const says =
  (status: number, body: string, type = 'application/json') =>
  (_: IncomingMessage, response: ServerResponse): void => {
    response.writeHead(status, { 'content-type': type }).end(body);
  };

it('sends a message with the secret, below the path of the address', async () => {
  const asked: (string | undefined)[] = [];
  const { ca, localhost } = await makeAuthority('bootstrap');
  await using server = await serving(
    createHttps({ key: localhost.key, cert: localhost.cert }, (request, response) => {
      asked.push(request.method, request.url, request.headers.authorization);
      says(200, '{"done": true, "news": 1}')(request, response);
    }),
  );
  const url = `https://localhost:${server.port}/mesh`;
  const trusting = new HttpBootstrapClient({ secret: 'sixteen-characters', ca });
  expect(await trusting.send(url, 'unreg', who, never)).toEqual({ done: true });
  expect(asked).toEqual(['POST', '/mesh/p2p/bootstrap/unreg', 'Bearer sixteen-characters']);
  await trusting.close();

  const wary = new HttpBootstrapClient({ secret: 'sixteen-characters' });
  await expect(wary.send(url, 'unreg', who, never)).rejects.toThrow(/certificate/);
  expect(asked).toHaveLength(3);
  await wary.close();
});

it('hands on a refusal as it was answered', async () => {
  const problem = JSON.stringify({ code: 'unauthorized', status: 401, detail: 'Send the secret.' });
  await expect(answerOf(says(401, problem, 'application/problem+json'))).rejects.toMatchObject({
    name: 'Problem',
    code: 'unauthorized',
    message: 'Send the secret.',
  });
});

it.each<[string, RequestListener, RegExp]>([
  ['a page', says(200, '<!doctype html>', 'text/html'), /no bootstrap node \(HTTP 200\)/],
  ['an error of a proxy', says(502, 'Bad Gateway', 'text/plain'), /no bootstrap node \(HTTP 502\)/],
  ['another JSON', says(200, '{"hello": "world"}'), /answer to JOIN cannot be read/],
  ['more neighbours than were asked for', says(200, tooMany()), /answer to JOIN cannot be read at "neighbours"/],
  ['an answer without end', endless, /size|maximum|exceed/i],
  ['a redirect', redirect, /no bootstrap node \(HTTP 302\)/],
  ['half an answer', half, /./],
])('takes %s for no answer, which is no refusal', async (_what, listener, message) => {
  const failed = await answerOf(listener).catch((error: Error) => error);
  expect(failed).toMatchObject({ message: expect.stringMatching(message) as string });
  expect((failed as Error).name).not.toBe('Problem');
});

function tooMany(): string {
  const neighbours = Array.from({ length: 65 }, (_, i) => ({ node_id: `n${i}`, urls: [] }));
  return JSON.stringify({ neighbours, undialled: [], joined: 66 });
}

function endless(_: IncomingMessage, response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  const more = (): void => {
    while (!response.destroyed && response.write('x'.repeat(65_536)));
    if (!response.destroyed) response.once('drain', more);
  };
  more();
}

function redirect(_: IncomingMessage, response: ServerResponse): void {
  response.writeHead(302, { location: 'http://169.254.169.254/' }).end();
}

function half(_: IncomingMessage, response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json' }).write('{"neighbours": [');
  setTimeout(() => response.destroy(), 50);
}
