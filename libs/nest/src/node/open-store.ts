import type { OpenStore } from './mesh-node';
import { ConfigurationError } from '../configuration/configuration-error';

/** The store on the PostgreSQL behind `databaseUrl`. */
export const openPostgresStore: OpenStore = async ({ databaseUrl }) => {
  throw new ConfigurationError([`no store ${databaseUrl}`]);
};
