import { fewestLinks, isNodeName, parseMaxVersions, parseRules } from '@pgmesh/core';
import { parseDnsName, parsePeerUrl } from '@pgmesh/discovery';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { z } from 'zod';
import {
  duration,
  durationOrOff,
  list,
  listeningPort,
  oneOf,
  port,
  type Setting,
  url,
  wholeNumber,
  yesOrNo,
} from './setting';

const nodeName = z
  .string()
  .refine(
    isNodeName,
    'is no node name. Use the letters a-z and A-Z, digits and "._-", beginning with a letter or digit, at most 63 bytes',
  );

const peers = list.superRefine((urls, context) => {
  for (const text of urls) {
    const parsed = parsePeerUrl(text);
    if (!parsed.ok) context.addIssue({ code: 'custom', message: `cannot be used: ${parsed.message}` });
  }
});

const conflictRules = z.string().superRefine((text, context) => {
  const outcome = parseRules(text);
  if (outcome.ok) return;
  for (const problem of outcome.problems)
    context.addIssue({ code: 'custom', message: `cannot be used: ${problem.replace(/\.$/, '')}` });
});

const maxVersions = z.string().superRefine((text, context) => {
  const outcome = parseMaxVersions(text);
  if (outcome.ok) return;
  for (const problem of outcome.problems) {
    context.addIssue({ code: 'custom', message: `cannot be used: ${problem.replace(/\.$/, '')}` });
  }
});

const modes = ['mdns', 'bootstrap', 'dns', 'manual'];
const discovery = list.refine(
  (named) => named.every((mode) => modes.includes(mode)),
  `must be one or more of ${modes.join(', ')}, separated by commas`,
);

const dnsName = z
  .string()
  .refine(
    (text) => parseDnsName(text) !== null,
    'is no name to look up. Write shop.default.svc.cluster.local, the same with :8001, or _http._tcp.shop.default.svc.cluster.local',
  );

const dnsServers = list.refine(
  (servers) => servers.every((server) => isIP(server.replace(/^\[(.+)\](:\d{1,5})?$|^([^:]+):\d{1,5}$/, '$1$3')) !== 0),
  'holds what is no address of a DNS server. Write 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:5353',
);

/** Identifiers are PostgreSQL's to read: the text goes to the store as it is, but for the commas between the names. */
const tables = z
  .string()
  .refine((text) => splitIdentifiers(text) !== null, 'has a quotation mark that is not closed. Write "My Table"')
  .transform((text) => splitIdentifiers(text)!);

/**
 * Every setting there is. The environment, env files, the command line and docs/configuration.md are all made from this table.
 */
export const settings = {
  nodeId: {
    variable: 'NODE_ID',
    flag: '--node-id <name>',
    type: nodeName,
    fallback:
      hostname()
        .replace(/[^A-Za-z0-9._-]/g, '-')
        .replace(/^[^A-Za-z0-9]+/, '')
        .slice(0, 63) || 'node',
    fallbackMeaning: "the machine's name",
    meaning: 'The name of this node. Each node of a mesh has one of its own, and keeps it.',
    example: 'node1',
  },
  port: {
    variable: 'API_PORT',
    flag: '--port <number>',
    type: listeningPort,
    fallback: '8001',
    meaning: 'The port that the node listens on, for people and peers alike. 0 takes any free one.',
    example: '8001',
  },
  host: {
    variable: 'P2P_HOST',
    flag: '--host <address>',
    type: z.string().refine((text) => /^[\w.:-]+$/.test(text), 'is no address'),
    fallback: undefined,
    fallbackMeaning: '`127.0.0.1`; with `P2P_SECRET` set `0.0.0.0`',
    meaning: 'The address that the node listens on. Without a secret only loopback is accepted.',
    example: '0.0.0.0',
  },
  databaseUrl: {
    variable: 'DATABASE_URL',
    flag: '--database-url <url>',
    type: url('postgres:', 'postgresql:'),
    fallback: undefined,
    fallbackMeaning: 'an embedded PostgreSQL under `./data/<NODE_ID>`',
    meaning: 'The PostgreSQL database (15 or newer) whose tables are shared.',
    example: 'postgres://app:secret@db.example.com:5432/shop',
    secret: true,
  },
  dataDir: {
    variable: 'P2P_DATA_DIR',
    flag: '--data-dir <directory>',
    type: z.string(),
    fallback: 'data',
    meaning:
      'Where embedded databases live, each in a directory named after its node, and the register of a bootstrap node.',
    example: '/var/lib/pgmesh',
  },
  databasePort: {
    variable: 'P2P_DATABASE_PORT',
    flag: '--database-port <number>',
    type: port,
    fallback: undefined,
    fallbackMeaning: 'any free port',
    meaning: 'The port of the embedded PostgreSQL. When it is taken, a free one is used and told in the log.',
    example: '5432',
  },
  enabled: {
    variable: 'P2P_ENABLED',
    flag: null,
    type: yesOrNo,
    fallback: 'true',
    meaning: 'With `false` the application runs alone: no /p2p, no capture, no discovery.',
    example: 'false',
  },
  tables: {
    variable: 'P2P_TABLES',
    flag: '--tables <names>',
    type: tables,
    fallback: '',
    fallbackMeaning: 'none: `pgmesh node` asks for it',
    meaning:
      'The tables to share, as PostgreSQL writes their names: with a schema or in `public`, quoted where needed. `*` means all that have a primary key.',
    example: 'public.customers,orders,"My Table"',
  },
  peers: {
    variable: 'P2P_PEERS',
    flag: '--peers <urls>',
    type: peers,
    fallback: '',
    fallbackMeaning: 'none',
    meaning: 'Peers known by hand. More can be added while the node runs (`POST /p2p/peers`).',
    example: 'http://127.0.0.1:8002,https://shop2.example.com',
  },
  discovery: {
    variable: 'P2P_DISCOVERY_MODE',
    flag: '--discovery <modes>',
    type: discovery,
    fallback: 'mdns',
    meaning:
      'How peers are found besides those known by hand, one or more of: `mdns` on the local network, `bootstrap` by nodes that introduce others, `dns` by the ' +
      'records of a name, `manual` for not at all. Peers known by hand are always dialled.',
    example: 'mdns',
  },
  discoveryPort: {
    variable: 'P2P_DISCOVERY_PORT',
    flag: '--discovery-port <number>',
    type: port,
    fallback: '5353',
    meaning: 'The UDP port of multicast DNS. Nodes find each other only on the same one.',
    example: '6001',
  },
  peerPort: {
    variable: 'P2P_PEER_PORT',
    flag: '--peer-port <number>',
    type: port,
    fallback: undefined,
    fallbackMeaning: '`API_PORT`',
    meaning:
      'The port that other nodes are told to dial, where it is not the one listened on (a published container port).',
    example: '9001',
  },
  publicUrl: {
    variable: 'P2P_PUBLIC_URL',
    flag: '--public-url <url>',
    type: url('http:', 'https:'),
    fallback: undefined,
    fallbackMeaning: 'made from the address and `P2P_PEER_PORT`',
    meaning: 'The address under which other nodes reach this one, behind a proxy or a tunnel.',
    example: 'https://shop1.example.com',
  },
  replicaUrl: {
    variable: 'P2P_REPLICA_URL',
    flag: '--replica-url <url>',
    type: url('http:', 'https:'),
    fallback: undefined,
    fallbackMeaning: "the machine's address and `API_PORT`",
    meaning:
      'Where the other processes of this node, over the same database, reach this one: its own address, not that of what distributes requests among them.',
    example: 'http://10.0.3.17:8001',
  },
  bootstrapUrl: {
    variable: 'P2P_BOOTSTRAP_URL',
    flag: '--bootstrap-url <urls>',
    type: peers,
    fallback: '',
    fallbackMeaning: 'none',
    meaning:
      'The bootstrap nodes at which this node registers and asks for neighbours, with `bootstrap` in P2P_DISCOVERY_MODE. The same on all nodes.',
    example: 'https://a.example.com,https://b.example.com',
  },
  bootstrapServe: {
    variable: 'P2P_BOOTSTRAP_SERVE',
    flag: null,
    type: yesOrNo,
    fallback: 'false',
    meaning:
      'With `true` this node is a bootstrap node as well. The register is kept in P2P_DATA_DIR, which has to outlast a restart.',
    example: 'true',
  },
  bootstrapLease: {
    variable: 'P2P_BOOTSTRAP_LEASE',
    flag: '--bootstrap-lease <time>',
    type: duration(1_000, 3_600_000),
    fallback: '60s',
    meaning:
      'How long a bootstrap node introduces a node that it does not hear of. Nodes renew after a third of it. Read by bootstrap nodes alone.',
    example: '60s',
  },
  dnsName: {
    variable: 'P2P_DNS_NAME',
    flag: '--dns-name <name>',
    type: dnsName,
    fallback: undefined,
    fallbackMeaning: 'none',
    meaning:
      "The name whose records are peers, with `dns` in P2P_DISCOVERY_MODE: its A and AAAA records with the port that is written behind it (this node's own " +
      'unless one is), or the SRV records of a name that begins with `_http._tcp.` or `_https._tcp.`',
    example: 'shop.default.svc.cluster.local:8001',
  },
  dnsServers: {
    variable: 'P2P_DNS_SERVERS',
    flag: '--dns-servers <addresses>',
    type: dnsServers,
    fallback: '',
    fallbackMeaning: "the system's",
    meaning: 'The DNS servers that are asked for P2P_DNS_NAME.',
    example: '192.0.2.53,192.0.2.54:5353',
  },
  room: {
    variable: 'P2P_ROOM',
    flag: '--room <name>',
    type: nodeName,
    fallback: 'default',
    meaning:
      'Keeps meshes apart that share a network or a bootstrap node: nodes find only those of their own room, and refuse others (`other_room`).',
    example: 'shop',
  },
  secret: {
    variable: 'P2P_SECRET',
    flag: null,
    type: z
      .string()
      .refine((text) => text.length >= 16, 'is shorter than 16 characters. Make one with: openssl rand -hex 32')
      .refine(
        (text) => /^[\x21-\x7e]+$/.test(text),
        'holds spaces or characters beyond ASCII, which a header does not carry. Make one with: openssl rand -hex 32',
      ),
    fallback: undefined,
    fallbackMeaning: 'none: the node serves loopback alone',
    meaning:
      'Shared by all nodes of a mesh. `/p2p` then asks for `Authorization: Bearer <secret>`; use HTTPS between machines. (It has no option: command lines are visible to others.)',
    example: '$(openssl rand -hex 32)',
    secret: true,
  },
  caFile: {
    variable: 'P2P_CA_FILE',
    flag: '--ca-file <path>',
    type: z.string(),
    fallback: undefined,
    fallbackMeaning: "the system's authorities",
    meaning: 'Certificates (PEM) to trust besides the usual ones when dialling peers over HTTPS.',
    example: '/etc/pgmesh/ca.pem',
  },
  priority: {
    variable: 'P2P_PRIORITY',
    flag: '--priority <number>',
    type: wholeNumber(-32_768, 32_767),
    fallback: '0',
    meaning: "This node's priority, stamped into its versions for the strategy `node-priority`.",
    example: '10',
  },
  links: {
    variable: 'P2P_LINKS',
    flag: '--links <number>',
    type: z
      .string()
      .refine(
        (text) => text === 'all' || (/^\d{1,5}$/.test(text) && Number(text) >= fewestLinks),
        `must be all, or a number from ${fewestLinks} on: with one link alone nothing is connected`,
      )
      .transform((text) => (text === 'all' ? Infinity : Number(text))),
    fallback: '8',
    meaning:
      'How many peers the node keeps links to, however many it finds: `all`, or a number. They are chosen so that the mesh stays connected, ' +
      'and those that fail are replaced. Peers known by hand are always linked to. The same on all nodes, and even.',
    example: '8',
  },
  syncInterval: {
    variable: 'P2P_SYNC_INTERVAL',
    flag: '--sync-interval <time>',
    type: duration(100, 3_600_000),
    fallback: '30s',
    meaning: 'How often peers are asked even though nothing was heard from them. Changes do not wait for it.',
    example: '30s',
  },
  batchSize: {
    variable: 'P2P_BATCH_SIZE',
    flag: '--batch-size <rows>',
    type: wholeNumber(1, 1_000_000),
    fallback: '50000',
    meaning:
      'Rows after which a window is cut, at a boundary between transactions, and of one piece of a first copy. Memory does not depend on it.',
    example: '5000',
  },
  maxRetries: {
    variable: 'P2P_MAX_RETRIES',
    flag: '--max-retries <number>',
    type: wholeNumber(0, 100),
    fallback: '3',
    meaning:
      'How often a failed exchange is tried again at once, with growing pauses, before it waits for the next interval.',
    example: '3',
  },
  timeout: {
    variable: 'P2P_TIMEOUT',
    flag: '--timeout <time>',
    type: duration(100, 3_600_000),
    fallback: '30s',
    meaning: 'How long a peer may stay silent in the middle of an exchange.',
    example: '30s',
  },
  memberCap: {
    variable: 'P2P_MEMBER_CAP',
    flag: '--member-cap <time>',
    type: durationOrOff(60_000, 3_650 * 86_400_000),
    fallback: '30d',
    meaning:
      'How long a member of the mesh may be silent before nobody waits for it any more: what was deleted is remembered for its sake until then. ' +
      'When it returns it copies the tables anew, and loses nothing that was written there. `off`: it is waited for until somebody evicts it.',
    example: '7d',
  },
  collect: {
    variable: 'P2P_COLLECT',
    flag: '--collect <time>',
    type: durationOrOff(100, 86_400_000),
    fallback: '1m',
    meaning:
      'How often it is looked for deletions, and for versions that have lost to the last write, that every member of the mesh has heard of, to forget them. `off`: all of them are remembered for ever.',
    example: '10m',
  },
  maxDrift: {
    variable: 'P2P_MAX_DRIFT',
    flag: '--max-drift <time>',
    type: duration(100, 86_400_000),
    fallback: '60s',
    meaning: "How far ahead of this node's clock a peer's versions may be stamped. Later ones are refused.",
    example: '60s',
  },
  conflict: {
    variable: 'P2P_CONFLICT',
    flag: '--conflict <rules>',
    type: conflictRules,
    fallback: 'last-write-wins',
    meaning:
      'Which of several concurrent versions stands: a strategy for all tables, and others for single tables (`table=strategy`) or ' +
      'for the rows whose key begins so (`table:prefix=strategy`). The strategies: `last-write-wins`, `first-write-wins`, ' +
      '`node-priority` (by P2P_PRIORITY of the writer), `merge-fields` (the newest write of each field), `custom(name)` (a function of P2P_RESOLVERS) and ' +
      '`manual` (the last write stands until somebody decides). Where the first write wins in a whole table, the older of two rows with ' +
      'one unique key stands, elsewhere the one that was written last. The same on all nodes.',
    example: 'last-write-wins, orders=node-priority',
  },
  resolversFile: {
    variable: 'P2P_RESOLVERS',
    flag: '--resolvers <path>',
    type: z.string(),
    fallback: undefined,
    fallbackMeaning: 'none',
    meaning:
      'A JavaScript module whose exported functions are the resolvers that rules name: `custom(stock)` is its export `stock`, `custom` its default export.',
    example: '/etc/pgmesh/resolvers.mjs',
  },
  resolverTimeout: {
    variable: 'P2P_RESOLVER_TIMEOUT',
    flag: '--resolver-timeout <time>',
    type: duration(1, 60_000),
    fallback: '250ms',
    meaning:
      'How long a resolver may take for two versions. One that takes longer leaves the conflict open, and is not asked again for ten seconds.',
    example: '100ms',
  },
  conflictRetention: {
    variable: 'P2P_CONFLICT_RETENTION',
    flag: '--conflict-retention <time>',
    type: duration(1_000, 3_650 * 86_400_000),
    fallback: '30d',
    meaning:
      'How long the record of a conflict is kept after it changed last. One that waits for somebody to decide is kept until that is done.',
    example: '90d',
  },
  maxVersions: {
    variable: 'P2P_MAX_VERSIONS',
    flag: '--max-versions <numbers>',
    type: maxVersions,
    fallback: '0',
    meaning:
      "How many of a row's last versions are kept with their values, the present one included, to be read and restored: " +
      'a number for all tables, and others for single tables (`table=number`), 0 to 1000. Each node keeps its own history.',
    example: '5, orders=20, "My Table"=0',
  },
  verifyInterval: {
    variable: 'P2P_VERIFY_INTERVAL',
    flag: '--verify-interval <time>',
    type: duration(0, 30 * 86_400_000),
    fallback: '1h',
    meaning:
      'How often, about, the rows of all tables are compared with those of a peer, one peer after the other, at a tenth of the time of one ' +
      'connection. 0 leaves it out; `pgmesh verify` compares at once.',
    example: '6h',
  },
  verifyRepair: {
    variable: 'P2P_VERIFY_REPAIR',
    flag: '--verify-repair <yes or no>',
    type: yesOrNo,
    fallback: 'true',
    meaning:
      'Whether rows that are found to differ then are repaired, by an ordinary merge in which nothing is lost; up to 1,000 rows of a table. ' +
      'With `false` they are only told.',
    example: 'false',
  },
  logLevel: {
    variable: 'P2P_LOG_LEVEL',
    flag: '--log-level <level>',
    type: oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'),
    fallback: 'info',
    meaning: 'How much is logged, as JSON lines on standard output. `debug` tells every request.',
    example: 'debug',
  },
} satisfies Record<string, Setting>;

export type SettingName = keyof typeof settings;

type Parsed<Line extends Setting> =
  Line extends Setting<infer Value> ? (Line extends { fallback: string } ? Value : Value | undefined) : never;

/** What a node is told, checked. Time spans are in milliseconds. */
export type Configuration = { readonly [Name in SettingName]: Parsed<(typeof settings)[Name]> };

/** Splits at commas outside quotation marks; null when one is left open. */
function splitIdentifiers(text: string): string[] | null {
  const names: string[] = [];
  let name = '';
  let quoted = false;
  for (const character of text) {
    if (character === '"') quoted = !quoted;
    if (character === ',' && !quoted) {
      names.push(name);
      name = '';
    } else name += character;
  }
  names.push(name);
  return quoted ? null : names.map((part) => part.trim()).filter((part) => part !== '');
}
