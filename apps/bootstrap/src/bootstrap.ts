import { Logger } from '@nestjs/common';
import { BootstrapModule, type Configuration, serve, type Served } from '@pgmesh/nest';

/** By which nodes on different networks find each other. It has no database, and takes no part in a mesh. */
export async function startBootstrap(configuration: Configuration): Promise<Served> {
  return serve({
    configuration: { ...configuration, enabled: false },
    title: 'pgmesh bootstrap node',
    imports: [BootstrapModule.forRoot(configuration, (message) => new Logger('Bootstrap').warn(message))],
  });
}
