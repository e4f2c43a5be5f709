import fc from 'fast-check';
import {
  type DnsRecord,
  instanceLabel,
  type OwnAnnouncement,
  readAnnouncements,
  SERVICE_DOMAIN,
  txtOf,
} from './announcement';
import { Tally } from './tally';

const own: OwnAnnouncement = {
  nodeId: 'n1',
  room: 'default',
  protocol: 1,
  scheme: 'http',
  apiPort: 8001,
  path: '/mesh',
};
const bytes = (txt: Record<string, string>): Buffer[] =>
  Object.entries(txt).map(([key, value]) => Buffer.from(`${key}=${value}`));
const packet = (txt: Record<string, string>, ttl = 120): DnsRecord[] => [
  { type: 'PTR', name: SERVICE_DOMAIN, ttl, data: 'X._pgmesh._tcp.local' },
  { type: 'TXT', name: 'x._pgmesh._tcp.local', ttl, data: bytes(txt) },
];
const read = (txt: Record<string, string>) => readAnnouncements(packet({ ...txtOf(own), ...txt }), '10.0.0.9', own)[0];

describe('an announcement', () => {
  it('leads to the address that it came from, with the port, scheme and path that it tells', () => {
    expect(read({})).toEqual({
      kind: 'here',
      instance: 'x._pgmesh._tcp.local',
      nodeId: 'n1',
      url: 'http://10.0.0.9:8001/mesh',
    });
    expect(read({ scheme: 'https', path: '', port: '443' })).toMatchObject({ url: 'https://10.0.0.9' });
  });

  it('of another room is none of our business', () => {
    expect(read({ room: 'other', id: '<script>' })).toMatchObject({ kind: 'other_room' });
  });

  it('with a TTL of zero is a goodbye', () => {
    expect(readAnnouncements(packet({}, 0), '10.0.0.9', own)).toEqual([
      { kind: 'goodbye', instance: 'x._pgmesh._tcp.local' },
    ]);
  });

  it.each([
    [{ id: 'a\r\nSet-Cookie: x' }],
    [{ id: '<script>alert(1)</script>' }],
    [{ id: '' }],
    [{ id: 'x'.repeat(64) }],
    [{ room: 'a\nb' }],
    [{ port: '0' }],
    [{ port: '65536' }],
    [{ port: '-1' }],
    [{ port: '80@evil' }],
    [{ port: '' }],
    [{ v: 'one' }],
    [{ v: '2' }],
    [{ scheme: 'file' }],
    [{ path: 'mesh' }],
    [{ path: '/../..' + '/a'.repeat(80) }],
    [{ path: '/@evil?x' }],
    [{ path: '//evil' }],
  ])('that says %j is ignored with a reason that repeats none of it', (txt: Record<string, string>) => {
    const said = read(txt);
    expect(said).toMatchObject({ kind: 'ignored' });
    expect(JSON.stringify(said)).not.toMatch(/script|Cookie|evil|xxx/);
  });

  it('from a link-local address, without TXT, or with bytes that are no text is ignored', () => {
    expect(readAnnouncements(packet(txtOf(own)), '169.254.7.7', own)).toMatchObject([{ kind: 'ignored' }]);
    expect(readAnnouncements(packet(txtOf(own)).slice(0, 1), '10.0.0.9', own)).toMatchObject([{ kind: 'ignored' }]);
    const binary = [packet({})[0]!, { ...packet({})[1]!, data: [Buffer.from([0x69, 0x64, 0x3d, 0xff])] }];
    expect(readAnnouncements(binary, '10.0.0.9', own)).toMatchObject([{ kind: 'ignored' }]);
  });

  it('is read without an exception, whatever the records hold', () => {
    const text = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom(SERVICE_DOMAIN, 'x', '__proto__'));
    const data = fc.oneof(text, fc.anything(), fc.array(fc.uint8Array().map((array) => Buffer.from(array))));
    const record = fc.record({ name: text, type: fc.constantFrom('PTR', 'TXT', 'SRV'), ttl: fc.nat(2), data });
    fc.assert(fc.property(fc.array(record), fc.ipV4(), (records, from) => void readAnnouncements(records, from, own)));
  });

  it('is published under one DNS label, its own for every node', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1 }), (nodeId) => {
        expect(instanceLabel({ ...own, nodeId })).toMatch(/^[A-Za-z0-9-]{1,63}$/);
      }),
    );
    expect(instanceLabel({ ...own, nodeId: 'a.b' })).not.toBe(instanceLabel({ ...own, nodeId: 'a-b' }));
  });
});

describe('a tally of oddities', () => {
  it('tells the first, the tenth, the hundredth …, and bounds its reasons', () => {
    const warnings: string[] = [];
    const tally = new Tally((message) => warnings.push(message));
    for (let i = 0; i < 150; i++) tally.count('Odd', 'from x');
    expect(warnings).toEqual(['Odd (from x; 1 so far)', 'Odd (from x; 10 so far)', 'Odd (from x; 100 so far)']);
    for (let i = 0; i < 10_000; i++) tally.count(`Odd ${i}`, '');
    expect(warnings.length).toBeLessThan(110);
  });
});
