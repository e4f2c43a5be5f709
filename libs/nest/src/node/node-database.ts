import { EmbeddedServer } from '@pgmesh/store';
import { join } from 'node:path';
import type { Configuration } from '../configuration/configuration';

/** The name of the database on an embedded server. */
const embeddedName = 'pgmesh';

/** The database that a node is beside: the one that was named, or one of its own on an embedded server. */
export class NodeDatabase implements AsyncDisposable {
  private constructor(
    readonly url: string,
    /** Whether it was made just now, and holds nothing yet. */
    readonly isNew: boolean,
    /** The embedded server's port; null for a database that was named. */
    readonly embeddedPort: number | null,
    private readonly server: EmbeddedServer | null,
  ) {}

  static async open(
    { databaseUrl, dataDir, nodeId, databasePort }: Configuration,
    onProgress: (what: string) => void,
  ): Promise<NodeDatabase> {
    if (databaseUrl !== undefined) return new NodeDatabase(databaseUrl, false, null, null);
    const server = await EmbeddedServer.start({
      dataDir: join(dataDir, nodeId.replaceAll(':', '_')),
      port: databasePort,
      portFallback: true,
      onProgress,
    });
    try {
      const isNew = await server.createDatabase(embeddedName);
      return new NodeDatabase(server.url(embeddedName), isNew, server.port, server);
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server?.stop();
  }
}
