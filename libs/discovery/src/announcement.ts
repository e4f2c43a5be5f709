/**
 * What a node says of itself over mDNS, and how what others say is read: pure. DNS-SD (RFC 6763): a PTR record leads
 * from the service type to an instance, whose TXT record carries the node's id, port, protocol, room, scheme and path.
 *
 * Everything here comes from strangers. A peer can only announce the address that its packet came from, so that nobody
 * points this node's requests at a third machine; what is odd is a value (`ignored`), never an exception.
 */
import { createHash } from 'node:crypto';
import { isNodeName } from '@pgmesh/core';
import { parsePeerUrl } from './peer-url';

export const SERVICE_TYPE = 'pgmesh';
export const SERVICE_DOMAIN = `_${SERVICE_TYPE}._tcp.local`;

/** What this node tells. */
export interface OwnAnnouncement {
  readonly nodeId: string;
  readonly room: string;
  /** The version of the wire protocol. */
  readonly protocol: number;
  readonly scheme: 'http' | 'https';
  readonly apiPort: number;
  /** A path prefix such as `/mesh`, or empty. */
  readonly path: string;
}

/** A record as `dns-packet` decodes it; `data` is what its type makes of it. */
export interface DnsRecord {
  readonly name: string;
  readonly type: string;
  readonly ttl?: number;
  readonly data?: unknown;
}

export type Announcement =
  | { readonly kind: 'here'; readonly instance: string; readonly nodeId: string; readonly url: string }
  | { readonly kind: 'goodbye'; readonly instance: string }
  /** Another mesh on the same network: none of our business, and nothing to warn about. */
  | { readonly kind: 'other_room'; readonly instance: string }
  | { readonly kind: 'ignored'; readonly reason: string };

export function txtOf(own: OwnAnnouncement): Record<string, string> {
  return {
    id: own.nodeId,
    port: String(own.apiPort),
    v: String(own.protocol),
    room: own.room,
    scheme: own.scheme,
    path: own.path,
  };
}

/** One DNS label (63 bytes at most), readable, and its own for every node, room and port on the network. */
export function instanceLabel(own: OwnAnnouncement): string {
  const digest = createHash('sha256').update(`${own.nodeId}\n${own.room}\n${own.apiPort}`).digest('hex');
  return `${own.nodeId.replace(/[^A-Za-z0-9-]/g, '-').slice(0, 40)}-${digest.slice(0, 12)}`;
}

/** All that one response says of our service type. `from` is the address that the packet came from. */
export function readAnnouncements(
  records: readonly DnsRecord[],
  from: string,
  ours: Pick<OwnAnnouncement, 'room' | 'protocol'>,
): Announcement[] {
  const texts = new Map<string, DnsRecord>();
  const instances = new Map<string, DnsRecord>();
  for (const record of records) {
    if (record.type === 'TXT') texts.set(record.name.toLowerCase(), record);
    else if (record.type === 'PTR' && record.name.toLowerCase() === SERVICE_DOMAIN && typeof record.data === 'string') {
      instances.set(record.data.toLowerCase(), record);
    }
  }
  return [...instances].map(([instance, { ttl }]) => {
    if (ttl === 0) return { kind: 'goodbye', instance };
    const text = texts.get(instance);
    return text ? readText(instance, text.data, from, ours) : ignored('it has no TXT record');
  });
}

function readText(
  instance: string,
  data: unknown,
  from: string,
  ours: Pick<OwnAnnouncement, 'room' | 'protocol'>,
): Announcement {
  const text = entriesOf(data);
  if (!text) return ignored('its TXT record is not UTF-8 text');

  const { id = '', port = '', v = '', room = '', scheme = '', path = '' } = text;
  if (!isNodeName(room)) return ignored('its room has no valid name');
  if (room !== ours.room) return { kind: 'other_room', instance };
  if (!isNodeName(id)) return ignored('its node id is not a valid name');
  if (!/^\d{1,5}$/.test(v)) return ignored('its protocol version is not a number');
  if (Number(v) !== ours.protocol) {
    return ignored(`it speaks version ${Number(v)} of the protocol, this node ${ours.protocol}; upgrade the older`);
  }
  if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535) return ignored('its port is out of range');
  if (scheme !== 'http' && scheme !== 'https') return ignored('its scheme is neither http nor https');
  if (!/^(\/[A-Za-z0-9._~-]+)*$/.test(path) || path.length > 128) return ignored('its path is not a plain path');

  const parsed = parsePeerUrl(`${scheme}://${from}:${Number(port)}${path}`);
  return parsed.ok ? { kind: 'here', instance, nodeId: id, url: parsed.url } : ignored(parsed.message);
}

/** The strings of a TXT record; of a key that stands twice the first counts (RFC 6763 section 6.4). */
function entriesOf(data: unknown): Partial<Record<string, string>> | null {
  const strings: unknown[] = Array.isArray(data) ? data : [data];
  const entries = new Map<string, string>();
  for (const bytes of strings) {
    if (!Buffer.isBuffer(bytes)) return null;
    let line: string;
    try {
      line = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      return null;
    }
    const [, key, value] = /^([^=]+)=([^]*)$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined && !entries.has(key.toLowerCase())) {
      entries.set(key.toLowerCase(), value);
    }
  }
  return Object.fromEntries(entries);
}

const ignored = (reason: string): Announcement => ({ kind: 'ignored', reason });
