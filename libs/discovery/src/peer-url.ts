/**
 * What may be dialled as a peer. A peer's URL comes from people, from the API and from strangers on the network, and
 * this node will send requests to it: it must not become a way to read local files, to leak credentials into logs, or
 * to reach the link-local services of cloud machines (169.254.169.254 hands out their keys).
 */
import { BlockList, isIP } from 'node:net';

export type PeerUrlProblem =
  'not_a_url' | 'scheme' | 'credentials' | 'link_local' | 'no_destination' | 'query_or_fragment' | 'too_long';

export type PeerUrl =
  | { readonly ok: true; readonly url: string }
  | { readonly ok: false; readonly reason: PeerUrlProblem; readonly message: string };

const LONGEST = 2048;
const EXAMPLE = 'for example http://192.0.2.10:8001';

/** The URL in its one normal form (lower-case host, no default port, no trailing slash), or what is wrong with it. */
export function parsePeerUrl(text: string): PeerUrl {
  if (text.length > LONGEST) {
    return refuse('too_long', `The peer URL has ${text.length} characters; ${LONGEST} is the most. Shorten it.`);
  }
  // The URL parser drops tabs and line breaks without a word, so that two different texts would be one URL.
  const trimmed = text.trim();
  // eslint-disable-next-line no-control-regex
  if (/[\s\x00-\x1f\x7f\\]/.test(trimmed) || !URL.canParse(trimmed)) {
    return refuse('not_a_url', `${shown(text)} is not a URL. Write scheme, host and port, ${EXAMPLE}.`);
  }
  const url = new URL(trimmed);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    return refuse('scheme', `${shown(text)} is neither http nor https. Write the scheme out, ${EXAMPLE}.`);
  }
  if (url.username !== '' || url.password !== '') {
    return refuse('credentials', `${shown(text)} carries a name or password. Leave them out: peers share P2P_SECRET.`);
  }
  if (url.search !== '' || url.hash !== '' || /[?#]$/.test(trimmed)) {
    return refuse('query_or_fragment', `${shown(text)} has a query or fragment. Leave off what follows "?" or "#".`);
  }
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (isLinkLocal(host)) {
    return refuse('link_local', `${shown(text)} is a link-local address. Use the peer's routable address or its name.`);
  }
  if (leadsNowhere(host) || url.port === '0') {
    return refuse('no_destination', `${shown(text)} names no host to dial. Write the peer's own address, ${EXAMPLE}.`);
  }
  return { ok: true, url: `${url.protocol}//${url.host}${url.pathname.replace(/\/+$/, '')}` };
}

/** Whether an IP address is link-local in any of its spellings. To be asked again of what a host name resolves to. */
export function isLinkLocal(address: string): boolean {
  return within(LINK_LOCAL, address);
}

/** Whether a peer's URL leads to this machine itself, whoever dials it. */
export function isLoopbackUrl(url: string): boolean {
  const { hostname } = new URL(url);
  return hostname === 'localhost' || hostname === '[::1]' || hostname.startsWith('127.');
}

const LINK_LOCAL = new BlockList();
LINK_LOCAL.addSubnet('169.254.0.0', 16, 'ipv4');
LINK_LOCAL.addSubnet('fe80::', 10, 'ipv6');
// An IPv4 address written inside an IPv6 one: mapped, compatible, and translated (RFC 4291 2.5.5, RFC 6052).
for (const prefix of ['::ffff:', '::', '64:ff9b::']) LINK_LOCAL.addSubnet(`${prefix}a9fe:0`, 112, 'ipv6');

const NOWHERE = new BlockList();
NOWHERE.addAddress('0.0.0.0', 'ipv4');
NOWHERE.addAddress('255.255.255.255', 'ipv4');
NOWHERE.addSubnet('224.0.0.0', 4, 'ipv4');
NOWHERE.addAddress('::', 'ipv6');
NOWHERE.addSubnet('ff00::', 8, 'ipv6');

const leadsNowhere = (host: string): boolean => host === '' || within(NOWHERE, host);

function within(list: BlockList, address: string): boolean {
  const family = isIP(address);
  return family !== 0 && list.check(address, family === 4 ? 'ipv4' : 'ipv6');
}

const refuse = (reason: PeerUrlProblem, message: string): PeerUrl => ({ ok: false, reason, message });

/** Quoted for a message: escaped, short, and without what stands before an "@", which may be a password. */
function shown(text: string): string {
  const bare = text.replace(/(^|\/\/)[^/]*@|\S*@/g, '$1…@');
  return JSON.stringify(bare.length > 80 ? `${bare.slice(0, 80)}…` : bare);
}
