export { openPool } from './database';
export { detach } from './detach';
export * from './embedded';
export type { ChangesPage, ChangesQuery } from './feed/changes';
export { migrate } from './migrate';
export { type Renamed, renameWriter } from './rename-writer';
export { PostgresStore, PreflightError, type StoreHealth, type StoreOptions } from './postgres-store';
export type { Finding } from './preflight';
export type { TableShape } from './table-shape';
