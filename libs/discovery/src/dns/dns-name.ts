/** What is looked up: `shop.default.svc.cluster.local`, the same with `:8001`, or the name of an SRV record, `_http._tcp.shop…`. */
export interface DnsName {
  readonly name: string;
  /** What its records are: addresses, or names with ports. */
  readonly records: 'addresses' | 'services';
  readonly scheme: 'http' | 'https';
  /** Of addresses; null: the same as this node's. */
  readonly port: number | null;
}

const label = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?$/i;

/** Null when it is no name to look up. */
export function parseDnsName(text: string): DnsName | null {
  const [, name = '', digits] = /^([^:]+?)\.?(?::(\d{1,5}))?$/.exec(text) ?? [];
  const labels = name.split('.');
  const port = digits === undefined ? null : Number(digits);
  const fits = name.length <= 253 && labels.every((one) => label.test(one));
  if (!fits || /^\d+$/.test(labels.at(-1)!) || (port !== null && (port < 1 || port > 65_535))) return null;
  const isService = /^_[^.]+\._tcp\../i.test(name);
  if (name.startsWith('_') && !isService) return null;
  // An SRV record has a port of its own.
  if (isService && port !== null) return null;
  const scheme = isService && /^_https\./i.test(name) ? 'https' : 'http';
  return { name, records: isService ? 'services' : 'addresses', scheme, port };
}
