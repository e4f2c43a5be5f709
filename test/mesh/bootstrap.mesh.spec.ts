import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { protocolVersion } from '@pgmesh/wire';
import { BootstrapProcess } from '../support/bootstrap-process';
import { TEMPORARY } from '../support/database';
import { DnsServer } from '../support/dns-server';
import { eventually, eventuallyEqual, LiveNode, type NodeSettings } from '../support/mesh-node';

const schema = 'CREATE TABLE notes (id int PRIMARY KEY, text text)';
const write = ({ sql, id }: LiveNode, n: number) => sql('INSERT INTO notes VALUES ($1, $2)', [n, id]);
const found = (...bootstrapUrl: string[]): NodeSettings => ({ discovery: ['bootstrap'], bootstrapUrl });
const ids = async (peers: Promise<readonly { node_id?: string | null }[]>) =>
  (await peers).map(({ node_id }) => node_id);

/** How a node stands with its bootstrap nodes. */
const standing = async (node: LiveNode) => {
  const { bootstrap } = await node.ask<{ bootstrap: { state: string; undialled: string[] }[] }>('status');
  return bootstrap;
};
const nobody = (node_id: string, room = 'default') => ({ node_id, room, instance: 'by hand' });

it('three nodes that know a bootstrap node alone become a mesh, which goes on when that is killed; the register outlasts it', async () => {
  await using bootstrap = await BootstrapProcess.start({ P2P_BOOTSTRAP_LEASE: '60s' });
  await using a = await LiveNode.start('a', schema, found(bootstrap.url));
  await using b = await LiveNode.start('b', schema, found(bootstrap.url));
  await using c = await LiveNode.start('c', schema, found(bootstrap.url));
  for (const [n, node] of [a, b, c].entries()) await write(node, n);
  await eventuallyEqual(a, b, c);
  expect(await a.sql('SELECT * FROM notes')).toHaveLength(3);
  await eventually('each is known', async () => {
    expect(await bootstrap.members()).toEqual(
      [a, b, c].map(({ id, url }) => expect.objectContaining({ node_id: id, urls: [url], joined: true }) as object),
    );
  });
  for (const peer of await c.peers()) expect(peer.sources).toEqual(['bootstrap']);
  // Nobody renews for this one: after the restart it can only be known from the disk.
  await bootstrap.send('reg', { ...nobody('witness'), protocol: protocolVersion, urls: ['http://127.0.0.1:9'] });

  await bootstrap.kill();
  await write(a, 10);
  await write(c, 11);
  await eventuallyEqual(a, b, c);
  expect(await b.sql('SELECT * FROM notes')).toHaveLength(5);

  await bootstrap.start();
  expect(await ids(bootstrap.members())).toEqual(['a', 'b', 'c', 'witness']);
  await a.stop();
  await eventually('a has said goodbye', async () => expect(await ids(bootstrap.members())).not.toContain('a'));
  await a.start();
  await write(a, 12);
  await eventuallyEqual(a, b, c);
});

it('a node that was killed is introduced for a lease, and no longer', async () => {
  await using bootstrap = await BootstrapProcess.start({ P2P_BOOTSTRAP_LEASE: '2s' });
  await bootstrap.send('reg', { ...nobody('killed'), protocol: protocolVersion, urls: ['http://127.0.0.1:9'] });
  await bootstrap.send('join', nobody('killed'));
  await using a = await LiveNode.start('a', schema, found(bootstrap.url));
  await eventually('it has been introduced', async () =>
    expect((await a.peers()).map(({ peer_id }) => peer_id)).toEqual(['killed']),
  );
  await eventually('its lease has ended, that of a has not', async () =>
    expect(await ids(bootstrap.members())).toEqual(['a']),
  );
  await using b = await LiveNode.start('b', schema, found(bootstrap.url));
  await write(b, 1);
  await eventuallyEqual(a, b);
  await eventually('b knows a alone', async () =>
    expect((await b.peers()).map(({ peer_id }) => peer_id)).toEqual(['a']),
  );
});

it('one of two bootstrap nodes may be away', async () => {
  await using bootstrap = await BootstrapProcess.start();
  await using other = await BootstrapProcess.start();
  const both = found(other.url, bootstrap.url);
  await other.kill();
  await using a = await LiveNode.start('a', schema, both);
  await using b = await LiveNode.start('b', schema, both);
  await write(a, 1);
  await write(b, 2);
  await eventuallyEqual(a, b);
  await eventually('its absence shows', async () =>
    expect((await standing(a)).map(({ state }) => state)).toEqual(['away', 'registered']),
  );
  await other.start();
  await eventually('its return does, too', async () => expect(await ids(other.members())).toEqual(['a', 'b']));
});

it('a node serves as one: others find it and each other by it, and its register outlasts it', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), TEMPORARY));
  try {
    await using server = await LiveNode.start('server', schema, {
      bootstrapServe: true,
      bootstrapLease: 3_000,
      dataDir,
    });
    await using a = await LiveNode.start('a', schema, found(server.url));
    await using b = await LiveNode.start('b', schema, found(server.url));
    for (const [n, node] of [server, a, b].entries()) await write(node, n);
    await eventuallyEqual(server, a, b);
    expect(await a.sql('SELECT * FROM notes')).toHaveLength(3);
    await eventually('a knows both', async () =>
      expect((await a.peers()).map(({ peer_id }) => peer_id).sort()).toEqual(['b', 'server']),
    );
    await server.stop();
    await write(a, 10);
    await eventuallyEqual(a, b);
    await server.start();
    await eventuallyEqual(server, a, b);
    await eventually('all are registered', async () => {
      const { members } = await server.ask<{ members: { node_id: string }[] }>('bootstrap/default');
      expect(members.map(({ node_id }) => node_id)).toEqual(['a', 'b', 'server']);
    });
    await expect(a.ask('bootstrap')).rejects.toThrow(/404.*P2P_BOOTSTRAP_SERVE/);
  } finally {
    await rm(dataDir, { recursive: true });
  }
});

it('a node that cannot be dialled says so, is known by name, and takes part by dialling others', async () => {
  const secret = 'correct-horse-battery-staple';
  await using bootstrap = await BootstrapProcess.start({ P2P_SECRET: secret, P2P_HOST: '127.0.0.1' });
  const all = { ...found(bootstrap.url), secret };
  await using a = await LiveNode.start('a', schema, all);
  await using nat = await LiveNode.start('nat', schema, { ...all, host: '0.0.0.0' });
  await write(a, 1);
  await write(nat, 2);
  await eventuallyEqual(a, nat);
  await eventually('a knows it by name', async () => expect((await standing(a))[0]!.undialled).toEqual(['nat']));
  expect(await a.peers()).toEqual([]);
});

it('rooms are apart: nobody is introduced across, and who dials across is refused by name', async () => {
  await using bootstrap = await BootstrapProcess.start();
  await using a = await LiveNode.start('a', schema, { ...found(bootstrap.url), room: 'one' });
  await using b = await LiveNode.start('b', schema, { ...found(bootstrap.url), room: 'two' });
  await using c = await LiveNode.start('c', schema, { ...found(bootstrap.url), room: 'one' });
  for (const [n, node] of [a, b, c].entries()) await write(node, n);
  await eventuallyEqual(a, c);
  expect(await a.sql('SELECT * FROM notes')).toHaveLength(2);
  expect(await ids(bootstrap.members('two'))).toEqual(['b']);
  expect(await b.peers()).toEqual([]);

  await b.dial(a.url);
  await eventually('the refusal is told', async () => {
    expect(await b.link(a.url)).toMatchObject({
      state: 'paused',
      last_error: { code: 'other_room', detail: expect.stringMatching(/"one" and "two".*P2P_ROOM/) as string },
    });
  });
  expect(await b.sql('SELECT * FROM notes')).toHaveLength(1);
  expect((await a.peers()).map(({ peer_id }) => peer_id)).toEqual(['c']);
});

it('several ways to find peers work together: a node that both know of is one peer', async () => {
  await using bootstrap = await BootstrapProcess.start();
  await using dns = await DnsServer.start();
  const name = '_http._tcp.mesh.test';
  const settings = { dnsName: name, dnsServers: [dns.address] };
  await using a = await LiveNode.start('a', schema, { ...found(bootstrap.url), ...settings });
  await using b = await LiveNode.start('b', schema, { discovery: ['dns'], ...settings });
  dns.records.set(name, { srv: [a, b].map(({ port }) => ({ target: 'localhost', port })) });
  await using c = await LiveNode.start('c', schema, {
    ...found(bootstrap.url),
    ...settings,
    discovery: ['bootstrap', 'dns'],
  });
  for (const [n, node] of [a, b, c].entries()) await write(node, n);
  await eventuallyEqual(a, b, c);
  expect(await c.sql('SELECT * FROM notes')).toHaveLength(3);
  await eventually('each is one peer', async () => {
    const peers = (await c.peers()).map(({ peer_id, sources }) => [peer_id, ...sources]);
    expect(peers).toEqual([
      ['a', 'bootstrap', 'dns'],
      ['b', 'dns'],
    ]);
  });
});
