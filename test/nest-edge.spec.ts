import { ConfigurationError, configurationOf } from '@pgmesh/nest';
import { connect } from 'node:net';
import { WebSocket } from 'ws';
import { raw, startEdge } from './support/edge-node';

const secret = 'a secret of thirty-two characters'.replaceAll(' ', '-');

describe('loopback only, without a secret', () => {
  it('listens on 127.0.0.1 alone', async () => {
    await using node = await startEdge({ host: undefined });
    expect(node.served.app.getHttpServer().address()).toMatchObject({ address: '127.0.0.1' });
  });

  it('refuses any other address by name, with the remedy and at the start', () => {
    expect(() => configurationOf({ host: '0.0.0.0' })).toThrow(ConfigurationError);
    expect(() => configurationOf({ host: '0.0.0.0' })).toThrow(/P2P_HOST.*P2P_SECRET/);
    expect(() => configurationOf({ host: '127.0.0.1.example.com' })).toThrow(ConfigurationError);
    expect(() => configurationOf({ host: '0.0.0.0', secret })).not.toThrow();
  });

  it('refuses a Host that is no loopback name, as a rebound DNS name would send, and pages of other sites', async () => {
    await using node = await startEdge();
    const status = async (headers: Record<string, string>, path = '/p2p/status') =>
      (await raw(node.url, { path, headers })).status;
    expect(await status({ host: 'evil.example' })).toBe(403);
    expect(await status({ host: '127.0.0.1.evil.example' })).toBe(403);
    expect(await status({ host: 'evil.example' }, '/docs')).toBe(403);
    expect(await status({ host: 'localhost:8001' })).toBe(200);
    expect(await status({ host: '[::1]:8001' })).toBe(200);
    expect(await status({ origin: 'https://evil.example' })).toBe(403);
    expect(await status({ origin: node.url })).toBe(200);
    await expect(opened(`${node.url}/p2p/ws`, { origin: 'https://evil.example' })).rejects.toThrow('403');
  });
});

describe('with a secret', () => {
  it('asks for it on /p2p and the WebSocket, and leaves health open', async () => {
    await using node = await startEdge({ secret });
    const status = async (path: string, authorization?: string) =>
      (await raw(node.url, { path, headers: authorization ? { authorization } : {} })).status;
    for (const path of ['/p2p/status', '/p2p/peers/', '/P2P/status', '//p2p/status', '/p2p/table/products/changes']) {
      expect(await status(path)).not.toBe(200);
    }
    expect(await status('/p2p/status')).toBe(401);
    expect(await status('/p2p/status', 'Bearer wrong')).toBe(401);
    expect(await status('/p2p/status', `Basic ${secret}`)).toBe(401);
    expect(await status('/p2p/status', `Bearer ${secret}`)).toBe(200);
    expect(await status('/health/live')).toBe(200);
    expect(await status('/health/ready')).toBe(200);
    await expect(opened(`${node.url}/p2p/ws`)).rejects.toThrow('401');
    const { client, first } = await opened(`${node.url}/p2p/ws`, { authorization: `Bearer ${secret}` });
    expect(first).toMatchObject({ type: 'hello', node_id: 'edge' });
    client.terminate();
    expect((await raw(node.url, { path: '/p2p/status' })).text).not.toContain(secret);
  });
});

describe('the endpoints', () => {
  it('take trailing slashes everywhere', async () => {
    await using node = await startEdge();
    for (const path of [
      '/p2p/status/',
      '/p2p/peers/',
      '/p2p/table/products/changes/?limit=5',
      '/p2p/sync/history/',
      '/health/live/',
      '/health/ready/',
    ]) {
      expect({ path, status: (await raw(node.url, { path })).status }).toEqual({ path, status: 200 });
    }
    const manual = await raw(node.url, { method: 'POST', path: '/p2p/sync/manual/' });
    expect({ status: manual.status, body: manual.text }).toEqual({ status: 200, body: '{"peers":[]}' });
    const { client } = await opened(`${node.url}/p2p/ws/`);
    client.terminate();
  });

  it('tell of the node, in snake_case', async () => {
    await using node = await startEdge();
    expect(JSON.parse((await raw(node.url, { path: '/p2p/status' })).text)).toMatchObject({
      node_id: 'edge',
      active_peers: 0,
      last_sync: null,
      sync_running: false,
      conflicts_resolved: 0,
      conflicts_open: 0,
      tables: ['public.products'],
      tables_synced: 1,
      peers: [],
    });
  });

  it('add peers by hand and take them away again, refusing what is none', async () => {
    await using node = await startEdge();
    const headers = { 'content-type': 'application/json' };
    const add = (body: object) =>
      raw(node.url, { method: 'POST', path: '/p2p/peers', headers, body: JSON.stringify(body) });
    expect((await add({ url: 'http://127.0.0.1:1' })).status).toBe(201);
    expect(JSON.parse((await raw(node.url, { path: '/p2p/peers' })).text)).toMatchObject([
      { url: 'http://127.0.0.1:1', sources: ['manual'] },
    ]);
    for (const url of ['file:///etc/passwd', 'http://a:b@c', 'http://169.254.169.254', node.url]) {
      expect({ url, status: (await add({ url })).status }).toEqual({ url, status: 422 });
    }
    const path = `/p2p/peers/${encodeURIComponent('http://127.0.0.1:1')}`;
    expect((await raw(node.url, { method: 'DELETE', path })).status).toBe(200);
    expect((await raw(node.url, { path: '/p2p/peers' })).text).toBe('[]');
  });

  it('hold a request for changes until there is news', async () => {
    await using node = await startEdge();
    const { store } = node;
    store.page = { json: '{"changes":[]}', count: 0 };
    const asked = raw(node.url, { path: '/p2p/table/products/changes?wait=30' });
    while (store.asked.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    store.page = { json: '{"changes":[1]}', count: 1 };
    for (const tell of [...store.newsListeners]) tell();
    expect((await asked).text).toBe('{"changes":[1]}');
  });

  it('describe themselves as OpenAPI', async () => {
    await using node = await startEdge();
    expect((await raw(node.url, { path: '/docs' })).text).toContain('swagger');
    const { paths } = JSON.parse((await raw(node.url, { path: '/docs-json' })).text) as {
      paths: Record<string, unknown>;
    };
    expect(Object.keys(paths)).toEqual(
      expect.arrayContaining([
        '/p2p/status',
        '/p2p/peers',
        '/p2p/table/{table}/changes',
        '/p2p/conflicts',
        '/p2p/conflicts/{id}/resolve',
        '/health/ready',
      ]),
    );
    expect(paths['/p2p/conflicts/{id}/resolve']).toMatchObject({
      post: { responses: { default: { content: { 'application/problem+json': {} } } } },
    });
  });

  it('are not there with P2P_ENABLED=false, while the application runs', async () => {
    await using node = await startEdge({ enabled: false });
    expect((await raw(node.url, { path: '/p2p/status' })).status).toBe(404);
    expect((await raw(node.url, { path: '/health/ready' })).status).toBe(200);
    await expect(opened(`${node.url}/p2p/ws`)).rejects.toThrow();
  });
});

describe('the WebSocket', () => {
  it('tells events by type, and closes with 1001 when the node stops', async () => {
    await using node = await startEdge();
    const { client, messages } = await opened(`${node.url}/p2p/ws?types=peer_found`);
    const headers = { 'content-type': 'application/json' };
    const told = new Promise((resolve) => client.once('message', resolve));
    await raw(node.url, { method: 'POST', path: '/p2p/peers', headers, body: '{"url":"http://127.0.0.1:1"}' });
    await told;
    expect(messages.at(-1)).toMatchObject({ type: 'peer_found', node_id: 'edge', url: 'http://127.0.0.1:1' });
    const closed = new Promise((resolve) => client.once('close', resolve));
    await node.served.stop();
    expect(await closed).toBe(1001);
  });

  it('trap hostile 1009: a giant frame ends the connection', async () => {
    await using node = await startEdge();
    const { client } = await opened(`${node.url}/p2p/ws`);
    const closed = new Promise((resolve) => client.once('close', resolve));
    client.send('x'.repeat(100_000));
    expect(await closed).toBe(1009);
  });
});

describe('the stop', () => {
  it('lets go of held requests, closes the store, and leaves nothing listening', async () => {
    const node = await startEdge();
    node.store.page = { json: '{"changes":[]}', count: 0 };
    const held = raw(node.url, { path: '/p2p/table/products/changes?wait=60' });
    while (node.store.asked.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await node.served.stop();
    expect((await held).text).toBe('{"changes":[]}');
    expect(node.store.closed).toBe(true);
    const refused = new Promise((resolve) => connect(node.served.port, '127.0.0.1').once('error', resolve));
    expect(await refused).toMatchObject({ code: 'ECONNREFUSED' });
  });
});

function opened(url: string, headers: Record<string, string> = {}) {
  const messages: unknown[] = [];
  const client = new WebSocket(url.replace('http', 'ws'), { headers });
  client.on('message', (data: Buffer) => messages.push(JSON.parse(data.toString())));
  return new Promise<{ client: WebSocket; first: unknown; messages: unknown[] }>((resolve, reject) => {
    client.once('error', reject);
    client.once('message', () => resolve({ client, first: messages[0], messages }));
  });
}
