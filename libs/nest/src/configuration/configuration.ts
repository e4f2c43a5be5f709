import { ConfigurationError } from './configuration-error';
import { isLoopbackName } from '../http/loopback';
import type { Setting } from './setting';
import { type Configuration, type SettingName, settings } from './settings';

export type { Configuration } from './settings';

/** Settings as text, by the name of the variable. Empty is the same as absent. */
export type Source = Readonly<Record<string, string | undefined>>;

/**
 * Checks all settings at once. Later sources win: env file, environment, flags.
 * @throws ConfigurationError naming each variable that cannot be used, and the remedy
 */
export function readConfiguration(...sources: readonly Source[]): Configuration {
  const findings: string[] = [];
  const values = Object.fromEntries(
    Object.entries(settings).map(([name, setting]) => [name, valueOf(setting, sources, findings)]),
  ) as unknown as Configuration;
  if (findings.length === 0 && values.enabled) findings.push(...contradictions(values));
  if (findings.length > 0) throw new ConfigurationError(findings);
  return values;
}

/** Settings given in code, the others as the table says. @throws ConfigurationError */
export function configurationOf(given: Partial<Configuration>): Configuration {
  const said = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const values = { ...readConfiguration(), ...said } as Configuration;
  const findings = values.enabled ? contradictions(values) : [];
  if (findings.length > 0) throw new ConfigurationError(findings);
  return values;
}

/** Where a node listens. */
export function listeningHost({ host, secret }: Pick<Configuration, 'host' | 'secret'>): string {
  return host ?? (secret === undefined ? '127.0.0.1' : '0.0.0.0');
}

/** Flags as commander gives them (`nodeId`, `databaseUrl`), by variable. */
export function sourceFromFlags(flags: Readonly<Record<string, unknown>>): Source {
  const named = Object.entries(settings).flatMap(([, { variable, flag }]) => {
    const value = flag === null ? undefined : flags[flagName(flag)];
    return typeof value === 'string' ? [[variable, value] as const] : [];
  });
  return Object.fromEntries(named);
}

/** Back to text, for a child process: only what was set. */
export function sourceFrom(values: Partial<Record<SettingName, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [settings[name as SettingName].variable, value]),
  );
}

function valueOf(setting: Setting, sources: readonly Source[], findings: string[]): unknown {
  const { variable, fallback, type, flag, secret } = setting;
  const given = sources.map((source) => source[variable]?.trim()).filter((text) => text !== undefined && text !== '');
  const text = given.at(-1) ?? fallback;
  if (text === undefined) return undefined;
  const result = type.safeParse(text);
  if (result.success) return result.data;
  const shown = secret ? '' : `=${shortened(text)}`;
  const also = flag === null ? '' : ` (option ${flag.split(' ')[0]})`;
  for (const { message } of result.error.issues) findings.push(`${variable}${shown} ${message}${also}.`);
  return undefined;
}

/** What single settings do not show. */
function contradictions(values: Configuration): string[] {
  return [...openWithoutSecret(values), ...nothingToAsk(values)];
}

function nothingToAsk({ discovery, bootstrapUrl, dnsName }: Configuration): string[] {
  const without = (mode: string, variable: string): string =>
    `P2P_DISCOVERY_MODE names ${mode}, and ${variable} is not set. Set it, or leave ${mode} out.`;
  return [
    ...(discovery.includes('bootstrap') && bootstrapUrl.length === 0
      ? [without('bootstrap', 'P2P_BOOTSTRAP_URL')]
      : []),
    ...(discovery.includes('dns') && dnsName === undefined ? [without('dns', 'P2P_DNS_NAME')] : []),
  ];
}

function openWithoutSecret({ host, secret }: Configuration): string[] {
  if (secret !== undefined || host === undefined || isLoopbackName(host)) return [];
  return [
    `P2P_HOST=${JSON.stringify(host)} would open the node to others, and P2P_SECRET is not set. ` +
      'Set P2P_SECRET (openssl rand -hex 32) on every node, or leave P2P_HOST out.',
  ];
}

/** `--node-id <name>` → `nodeId` */
function flagName(flag: string): string {
  return flag
    .split(' ')[0]!
    .replace(/^--/, '')
    .replace(/-(\w)/g, (_match, letter: string) => letter.toUpperCase());
}

/** Quoted, short, and without what stands before an `@`, which may be a password. */
function shortened(text: string): string {
  const bare = text.replace(/\S*@/g, '…@');
  return JSON.stringify(bare.length > 80 ? `${bare.slice(0, 80)}…` : bare);
}
