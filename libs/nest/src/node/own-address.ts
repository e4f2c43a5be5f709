import { networkInterfaces } from 'node:os';
import { type Configuration, listeningHost } from '../configuration/configuration';

/** Where the other processes of this node reach this one: on this machine or in its network, not by way of what distributes requests among them. */
export function ownAddress(configuration: Configuration, port: number): string {
  const { replicaUrl } = configuration;
  if (replicaUrl !== undefined) return replicaUrl;
  const host = listeningHost(configuration);
  const wildcard = host === '0.0.0.0' || host === '::';
  const addresses = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const outer = addresses.find(({ internal, family }) => !internal && family === 'IPv4');
  const reached = wildcard ? (outer?.address ?? '127.0.0.1') : host;
  return `http://${reached.includes(':') ? `[${reached}]` : reached}:${port}`;
}
