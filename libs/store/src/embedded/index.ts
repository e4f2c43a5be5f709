export { EmbeddedServer, type EmbeddedServerOptions } from './server';
export { EmbeddedFailure, type EmbeddedFailureCode } from './failure';
