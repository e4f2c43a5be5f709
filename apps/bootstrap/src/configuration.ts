import { type Configuration, readConfiguration, type SettingName, type Source } from '@pgmesh/nest';

/** Of all settings, those that a bootstrap node reads. */
export const bootstrapSettings = [
  'port',
  'host',
  'dataDir',
  'bootstrapLease',
  'secret',
  'nodeId',
  'logLevel',
] as const satisfies readonly SettingName[];

/** Not a node's, so that both may run on one machine. */
export const usualPort = '8000';

/** @throws ConfigurationError */
export function bootstrapConfiguration(...sources: readonly Source[]): Configuration {
  // What a node needs beyond that may stand in the same environment, and is no matter here.
  const modes = { P2P_DISCOVERY_MODE: 'manual', P2P_ENABLED: 'true' };
  return readConfiguration({ API_PORT: usualPort }, ...sources, modes);
}
