export { BootstrapModule } from './bootstrap/bootstrap.module';
export {
  type Configuration,
  configurationOf,
  listeningHost,
  readConfiguration,
  type Source,
  sourceFromFlags,
} from './configuration/configuration';
export { ConfigurationError } from './configuration/configuration-error';
export { readEnvFile } from './configuration/env-file';
export { configurationReference } from './configuration/reference';
export type { Setting } from './configuration/setting';
export { type SettingName, settings } from './configuration/settings';
export { GuardedWsAdapter } from './events/guarded-ws-adapter';
export { Doorkeeper } from './http/doorkeeper';
export { isLoopbackName } from './http/loopback';
export { ProblemFilter } from './http/problem.filter';
export { NodeDatabase } from './node/node-database';
export { MeshNode, type OpenStore } from './node/mesh-node';
export { openPostgresStore } from './node/open-store';
export type { MemberCounts, MemberView } from './node/members-view';
export type { NodeStore } from './node/ports';
export type { PeerView, RunningNode } from './node/running-node';
export { type P2pAsyncOptions, P2pModule, type P2pOptions } from './p2p.module';
export { runProcess } from './run-process';
export { type Served, serve, type ServeOptions } from './serve';
