import {
  ConfigurationError,
  configurationReference,
  readConfiguration,
  readEnvFile,
  settings,
  sourceFromFlags,
} from '@pgmesh/nest';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

function findings(source: Record<string, string>): readonly string[] {
  try {
    readConfiguration(source);
  } catch (error) {
    if (error instanceof ConfigurationError) return error.findings;
    throw error;
  }
  return [];
}

describe('the configuration', () => {
  it('has defaults for everything that has one', () => {
    expect(readConfiguration()).toMatchObject({
      port: 8001,
      syncInterval: 30_000,
      timeout: 30_000,
      maxDrift: 60_000,
      maxRetries: 3,
      tables: [],
      peers: [],
      discovery: ['mdns'],
      enabled: true,
    });
  });

  it('lets later sources win: env file, environment, options', () => {
    const directory = mkdtempSync(join(tmpdir(), 'pgmesh-configuration-'));
    try {
      const path = join(directory, '.env.a');
      writeFileSync(
        path,
        '# a comment\nNODE_ID=file\nAPI_PORT=1\nP2P_ROOM="of the file"\nP2P_PRIORITY=7\n'.replace(
          'of the file',
          'file',
        ),
      );
      const options = sourceFromFlags({ nodeId: 'option', unknown: 'x' });
      const read = readConfiguration(
        readEnvFile(path),
        { NODE_ID: 'environment', API_PORT: '2', P2P_ROOM: '' },
        options,
      );
      expect(read).toMatchObject({ nodeId: 'option', port: 2, room: 'file', priority: 7 });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('names an env file that cannot be read', () => {
    expect(() => readEnvFile('/nowhere/.env')).toThrow(/\/nowhere\/\.env.*ENOENT.*--env-file/);
  });

  it('reads table names as they are, with commas only between them', () => {
    const { tables } = readConfiguration({ P2P_TABLES: 'public.customers, orders,"My, ""own"" Table",*' });
    expect(tables).toEqual(['public.customers', 'orders', '"My, ""own"" Table"', '*']);
  });

  it.each([
    ['30', 30_000],
    ['500ms', 500],
    ['1.5s', 1500],
    ['2 m', 120_000],
  ])('reads %s as a time span', (text, ms) => {
    expect(readConfiguration({ P2P_SYNC_INTERVAL: text }).syncInterval).toBe(ms);
  });

  it('names every setting that cannot be used, at once, with the option and the remedy', () => {
    const told = findings({
      API_PORT: '99999',
      NODE_ID: '<script>',
      P2P_SYNC_INTERVAL: '30000',
      P2P_PEERS: 'file:///x',
      P2P_CONFLICT: 'dice',
    });
    expect(told).toEqual([
      expect.stringMatching(/^NODE_ID="<script>" is no node name.*--node-id/),
      expect.stringMatching(/^API_PORT="99999" must lie between 0 and 65535.*--port/),
      expect.stringMatching(/^P2P_PEERS=.*neither http nor https/),
      expect.stringMatching(/^P2P_SYNC_INTERVAL="30000" must lie between 100ms and 1h.*ms for milliseconds/),
      expect.stringMatching(/^P2P_CONFLICT="dice" cannot be used: dice: there is no strategy.*--conflict/),
    ]);
  });

  it('never prints a secret', () => {
    const told = findings({
      P2P_SECRET: 'hunter2',
      DATABASE_URL: 'mysql://u:pa55word@host/db',
      P2P_PEERS: 'http://me:pa55word@host',
    }).join('\n');
    expect(told).toMatch(/P2P_SECRET is shorter/);
    expect(told).toMatch(/DATABASE_URL is no URL that starts with postgres:/);
    expect(told).not.toMatch(/hunter2|pa55word/);
  });

  it('takes several ways to find peers, and asks for what each needs', () => {
    const both = { P2P_DISCOVERY_MODE: 'mdns, bootstrap,dns' };
    expect(findings(both)).toEqual([
      expect.stringMatching(/names bootstrap, and P2P_BOOTSTRAP_URL is not set/),
      expect.stringMatching(/names dns, and P2P_DNS_NAME is not set/),
    ]);
    const needs = {
      P2P_BOOTSTRAP_URL: 'https://a.example.com, http://b.example.com:8000',
      P2P_DNS_NAME: 'shop.local:8001',
    };
    expect(readConfiguration({ ...both, ...needs })).toMatchObject({
      discovery: ['mdns', 'bootstrap', 'dns'],
      bootstrapUrl: ['https://a.example.com', 'http://b.example.com:8000'],
      dnsName: 'shop.local:8001',
    });
    expect(findings({ P2P_DISCOVERY_MODE: 'telepathy' })).toEqual([
      expect.stringMatching(/one or more of mdns, bootstrap/),
    ]);
    for (const P2P_DNS_NAME of ['10.0.0.1', 'shop:0', '_http._tcp.shop:8001', '_ldap.shop', 'http://shop', 'a b']) {
      expect(findings({ P2P_DNS_NAME })).toEqual([expect.stringMatching(/is no name to look up/)]);
    }
    expect(findings({ P2P_DNS_SERVERS: '10.0.0.53, [::1]:53,dns.example.com' })).toHaveLength(1);
    expect(readConfiguration({ P2P_DNS_SERVERS: '10.0.0.53:5353, [::1]:53, ::1' }).dnsServers).toHaveLength(3);
  });

  it('names each entry of P2P_MAX_VERSIONS that cannot be used', () => {
    const [first, second, ...rest] = findings({ P2P_MAX_VERSIONS: '5, orders=lots, "My Table=1' });
    expect(rest).toEqual([]);
    expect([first, second].join('\n')).toMatch(
      /orders=lots: "lots" is not a whole number from 0 to 1000[^]*not closed/,
    );
  });

  it('reads each example of its table, unless it is one of a secret', () => {
    for (const { example, variable, secret } of Object.values<{ example: string; variable: string; secret?: boolean }>(
      settings,
    )) {
      if (example !== '' && !(secret && variable === 'P2P_SECRET'))
        expect(findings({ P2P_SECRET: 'x'.repeat(32), [variable]: example })).toEqual([]);
    }
  });

  it('is described in docs/configuration.md as it is', () => {
    const page = readFileSync(join(__dirname, '../docs/configuration.md'), 'utf8');
    expect(page).toBe(configurationReference());
  });
});
