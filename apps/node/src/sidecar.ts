import { type Configuration, ConfigurationError, NodeDatabase, P2pModule, serve, type Served } from '@pgmesh/nest';
import { NodeProblemsModule } from './node-problems.module';

/** A node beside any database. */
export async function startSidecar(configuration: Configuration, onProgress: (what: string) => void): Promise<Served> {
  if (configuration.enabled && configuration.tables.length === 0) {
    throw new ConfigurationError([
      "P2P_TABLES is not set. Name the tables to share, for example --tables public.customers,orders, or --tables '*' for all that have a primary key.",
    ]);
  }
  const database = await NodeDatabase.open(configuration, onProgress);
  return serve({
    configuration,
    title: 'pgmesh node',
    imports: [P2pModule.forRoot({ ...configuration, databaseUrl: database.url }), NodeProblemsModule],
    resources: database,
  });
}
