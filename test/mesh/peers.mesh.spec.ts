import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createDatabase } from '../support/database';
import { eventually, eventuallyEqual, LiveNode, startMesh } from '../support/mesh-node';

const schema = 'CREATE TABLE notes (id int PRIMARY KEY, text text)';
const notes = ({ sql }: LiveNode) => sql('SELECT id, text FROM notes ORDER BY id');
/** Whatever comes within this did not wait for a P2P_SYNC_INTERVAL of an hour. */
const moments = 10_000;

describe('reachability', () => {
  it('one side that dials is enough: changes flow both ways at once, with an interval of an hour', async () => {
    await using mesh = await startMesh('a -> b', schema, { all: { syncInterval: 3_600_000, timeout: 30_000 } });
    const [a, b] = [mesh.node('a'), mesh.node('b')];
    await mesh.connected();
    expect(await b.peers()).toEqual([]);
    for (let i = 0; i < 5; i++) {
      const [from, to] = i % 2 ? [a, b] : [b, a];
      await from.sql('INSERT INTO notes VALUES ($1, $2)', [i, from.id]);
      await eventually('it is there', async () => (await notes(to)).length === i + 1, moments);
    }
    await eventuallyEqual(a, b);
  });

  it('plain SQL leaves the node at once, over two hops, with an interval of an hour', async () => {
    await using mesh = await startMesh('a <-> b <-> c', schema, { all: { syncInterval: 3_600_000, timeout: 30_000 } });
    const [a, c] = [mesh.node('a'), mesh.node('c')];
    await mesh.connected();
    for (let i = 0; i < 3; i++) {
      await a.sql('INSERT INTO notes VALUES ($1, $2)', [i, 'from psql']);
      await eventually('it is there', async () => (await notes(c)).length === i + 1, moments);
    }
    await c.sql('DELETE FROM notes WHERE id = 1');
    await eventually('the delete, too', async () => (await notes(a)).length === 2, moments);
  });
});

describe('peers made known by hand', () => {
  it('are kept across restarts until they are taken away', async () => {
    await using mesh = await startMesh('a -> b', schema);
    const [a, b] = [mesh.node('a'), mesh.node('b')];
    await mesh.connected();
    await a.stop();
    await b.sql(`INSERT INTO notes VALUES (1, 'while a was away')`);
    await a.start();
    await eventuallyEqual(a, b);
    expect(await notes(a)).toHaveLength(1);

    expect(await a.ask('peers/b', 'DELETE')).toMatchObject({ removed: [mesh.link('a', 'b').url], remains: [] });
    expect(await a.peers()).toEqual([]);
    await b.sql(`INSERT INTO notes VALUES (2, 'after the parting')`);
    await a.stop();
    await a.start();
    expect(await a.peers()).toEqual([]);
    expect(await notes(a)).toHaveLength(1);
    await a.dial(b.url);
    await eventuallyEqual(a, b);
    expect(await notes(a)).toHaveLength(2);
  });

  it('are seen to be gone when they stop, and to be back', async () => {
    await using mesh = await startMesh('a <-> b', schema, { all: { maxRetries: 1 } });
    const [a, b] = [mesh.node('a'), mesh.node('b')];
    await mesh.connected();
    await b.stop();
    await eventually('b is seen to be gone', async () => {
      const { active_peers, peers } = await a.status();
      expect({ active_peers, state: peers[0]!.state }).toEqual({ active_peers: 0, state: 'unreachable' });
    });
    await a.tells({ type: 'peer_unreachable', peer: 'b' });
    await b.start();
    await eventually('b is back', async () => (await a.status()).active_peers === 1);
  });
});

it('mDNS on loopback: two nodes find each other, and one that stops is gone at once', async () => {
  const discoveryPort = 20_000 + Math.floor(Math.random() * 10_000);
  const found = { discovery: ['mdns'], discoveryPort, syncInterval: 3_600_000 };
  await using a = await LiveNode.start('a', schema, found);
  await using b = await LiveNode.start('b', schema, found);
  await a.sql(`INSERT INTO notes VALUES (1, 'from a')`);
  await b.sql(`INSERT INTO notes VALUES (2, 'from b')`);
  await eventuallyEqual(a, b);
  expect(await notes(a)).toHaveLength(2);
  expect(await a.peers()).toEqual([expect.objectContaining({ peer_id: 'b', url: b.url, sources: ['mdns'] })]);
  await b.stop();
  await eventually('b is gone', async () => (await a.peers()).length === 0, moments);
  await a.tells({ type: 'peer_left', peer: 'b' });
});

describe('with a secret', () => {
  const secret = 'correct-horse-battery-staple';

  it('nodes that have it sync; one that has another or none gets no data, and its status says why', async () => {
    await using a = await LiveNode.start('a', schema, { secret });
    await using b = await LiveNode.start('b', schema, { secret });
    await using wrong = await LiveNode.start('wrong', schema, { secret: 'incorrect-donkey-battery' });
    await using none = await LiveNode.start('none', schema);
    await a.sql(`INSERT INTO notes VALUES (1, 'between us')`);
    await b.dial(a.url);
    for (const node of [wrong, none]) {
      await node.sql(`INSERT INTO notes VALUES (2, 'from a stranger')`);
      await node.dial(a.url);
      await eventually('the refusal is told', async () => {
        expect(await node.link(a.url)).toMatchObject({
          state: 'paused',
          last_error: { code: 'unauthorized', detail: expect.stringContaining('P2P_SECRET') as string },
        });
      });
    }
    await eventuallyEqual(a, b);
    expect(await notes(b)).toEqual([{ id: 1, text: 'between us' }]);
    for (const node of [wrong, none]) expect(await notes(node)).toEqual([{ id: 2, text: 'from a stranger' }]);
  });

  it('no line of the log and no answer shows it, nor the password of the database', async () => {
    await using database = await createDatabase();
    await database.sql(schema);
    await using peer = await LiveNode.start('peer', schema, { secret });
    await using stranger = await LiveNode.start('stranger', schema, { secret: 'incorrect-donkey-battery' });
    const child = spawn(process.execPath, [join(__dirname, '../../bin/pgmesh.js'), 'node'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH,
        NODE_ID: 'told',
        API_PORT: '0',
        P2P_HOST: '127.0.0.1',
        P2P_SECRET: secret,
        P2P_TABLES: '*',
        P2P_LOG_LEVEL: 'trace',
        P2P_DISCOVERY_MODE: 'manual',
        P2P_SYNC_INTERVAL: '300ms',
        P2P_PEERS: `${peer.url},${stranger.url}`,
        DATABASE_URL: database.url,
      },
    });
    let log = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => (log += text.toString()));
    const ended = once(child, 'exit');
    try {
      let url: string | undefined;
      await eventually(
        'the node says where it listens',
        () => (url = /"msg":"listening","url":"([^"]+)"/.exec(log)?.[1]) !== undefined,
      ).catch((error: Error) => Promise.reject(new Error(`${error.message}\n${log}`)));
      await eventually('it is ready', async () => (await fetch(`${url}/health/ready`)).ok);
      await peer.sql(`INSERT INTO notes VALUES (1, 'from the peer')`);
      await eventually('it has synced, and was refused by the stranger', async () => {
        expect(await database.sql('SELECT * FROM notes')).toHaveLength(1);
        expect(log).toContain('unauthorized');
      });
      const answers = await Promise.all(
        [
          'p2p/status',
          'p2p/peers',
          'p2p/sync/history',
          'p2p/table/notes/changes',
          'health/ready',
          'docs-json',
          'nothing',
        ].flatMap((path) =>
          [
            { authorization: `Bearer ${secret}` },
            { authorization: `Bearer ${secret}x` },
            { authorization: secret },
          ].map(async (headers) => {
            const answer = await fetch(`${url}/${path}`, { headers });
            return `${answer.status} ${JSON.stringify([...answer.headers])} ${await answer.text()}`;
          }),
        ),
      );
      const password = decodeURIComponent(new URL(database.url).password);
      expect(password).not.toBe('');
      for (const text of [log, ...answers]) {
        expect(text).not.toContain(secret);
        expect(text).not.toContain(password);
      }
      expect(log).toContain('"level":"debug"');
    } finally {
      child.kill('SIGTERM');
      await ended;
    }
  });
});
