/** mDNS between two machines, as far as sockets can tell: two network namespaces and a cable. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { MdnsSourceOptions } from '../libs/discovery/src';
import { DiscoveryProcess, eventually } from './support/discovery-process';
import { networkPair } from './support/netns';

const own = { room: 'default', protocol: 1, scheme: 'http', path: '', apiPort: 8001, port: 6001 } as const;
const HOUR = 3_600_000;

describe('mDNS between two machines', () => {
  it('shows nodes to each other at the address of the network, and that one has said goodbye', async () => {
    await using network = await networkPair();
    const { left, right } = network;
    await using a = await DiscoveryProcess.start(options('a', left.address), left);
    {
      await using b = await DiscoveryProcess.start(options('b', right.address), right);
      await eventually(() => expect([...a.peers]).toEqual([[`http://${right.address}:8001`, 'b']]));
      await eventually(() => expect([...b.peers]).toEqual([[`http://${left.address}:8001`, 'a']]));
    }
    await eventually(() => expect([...a.peers]).toEqual([]));
    expect(a.warnings).toEqual([]);
  });

  it('does not reach a node that keeps to loopback, though its neighbour on the same machine is found', async () => {
    await using network = await networkPair();
    const { left, right } = network;
    await using alone = await DiscoveryProcess.start(
      { ...options('alone', '127.0.0.1'), apiPort: 8002, askEvery: 50 },
      left,
    );
    await using a = await DiscoveryProcess.start(options('a', left.address), left);
    await using b = await DiscoveryProcess.start({ ...options('b', right.address), askEvery: 50 }, right);
    await eventually(() => expect([...a.peers.values()]).toEqual(['b']));
    await eventually(() => expect([...b.peers.values()]).toEqual(['a']));
    await using c = await DiscoveryProcess.start({ ...options('c', '127.0.0.1'), apiPort: 8003 }, left);
    await eventually(() => expect([...alone.peers.values()]).toEqual(['c']));
    await eventually(() => expect([...c.peers.values()]).toEqual(['alone']));
    expect([...b.peers.values()]).toEqual(['a']);
  });

  it('finds by asking what it missed while the cable was out', async () => {
    await using network = await networkPair();
    const { left, right } = network;
    await network.cable('down');
    await using a = await DiscoveryProcess.start({ ...options('a', left.address), askEvery: 50 }, left);
    await using b = await DiscoveryProcess.start({ ...options('b', right.address), askEvery: 50 }, right);
    expect([...a.peers, ...b.peers]).toEqual([]);
    await network.cable('up');
    await eventually(() => expect([...a.peers.values()]).toEqual(['b']));
    await eventually(() => expect([...b.peers.values()]).toEqual(['a']));
  });

  it('warns once when the machine has no such interface, and goes on', async () => {
    await using network = await networkPair();
    await using a = await DiscoveryProcess.start({ ...options('a', '192.0.2.77'), askEvery: 20 }, network.left);
    await eventually(() => expect(a.warnings.length).toBeGreaterThan(0));
    await using b = await DiscoveryProcess.start(options('b', '127.0.0.1'), network.left);
    await using c = await DiscoveryProcess.start({ ...options('c', '127.0.0.1'), apiPort: 8002 }, network.left);
    await eventually(() => expect([...b.peers.values()]).toEqual(['c']));
    await eventually(() => expect([...c.peers.values()]).toEqual(['b']));
    expect(a.warnings.every((warning) => warning.includes('192.0.2.77'))).toBe(true);
    expect(new Set(a.warnings).size).toBe(a.warnings.length);
  });
});

describe('the namespaces of a network pair', () => {
  it('are apart from this one', async () => {
    await using network = await networkPair();
    const socket = createSocket('udp4').bind(0, network.left.address);
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('EADDRNOTAVAIL');
    socket.close();
  });
});

function options(nodeId: string, address: string): Omit<MdnsSourceOptions, 'warn'> {
  return { ...own, nodeId, interface: address, askEvery: HOUR };
}
