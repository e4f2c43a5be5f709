import type { PoolClient } from 'pg';
import type { Connections } from '../connections';

/**
 * The connection that one window is worked on with. A small window needs it for its merge alone, and plans that are index scans;
 * a large one is staged first, in temporary tables of the connection that then merges it.
 */
export class Desk implements AsyncDisposable {
  /** Whether the connection is in a state that nobody can answer for. */
  broken = false;
  private client: PoolClient | null = null;
  private staged = false;

  constructor(private readonly connections: Pick<Connections, 'merges' | 'stages'>) {}

  async staging(): Promise<PoolClient> {
    this.staged = true;
    return (this.client ??= await this.connections.stages.connect());
  }

  async merging(): Promise<PoolClient> {
    return (this.client ??= await this.connections.merges.connect());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.staged && !this.broken) {
      await this.client?.query('DISCARD TEMP').catch(() => (this.broken = true));
    }
    this.client?.release(this.broken);
  }
}
