import type { Pool } from 'pg';
import { rethrowAway } from './database';

/** Peers that were added by hand, kept across restarts. */
export class PostgresPeerBook {
  constructor(private readonly pool: Pool) {}

  async all(): Promise<{ url: string; nodeId: string | null }[]> {
    const { rows } = await this.pool
      .query<{ url: string; nodeId: string | null }>(
        'SELECT url, node_id AS "nodeId" FROM p2p.peer ORDER BY added_at, url',
      )
      .catch(rethrowAway);
    return rows;
  }

  async put(url: string, nodeId: string | null): Promise<void> {
    await this.pool
      .query(
        'INSERT INTO p2p.peer (url, node_id) VALUES ($1, $2) ON CONFLICT (url) DO UPDATE SET node_id = excluded.node_id',
        [url, nodeId],
      )
      .catch(rethrowAway);
  }

  async remove(url: string): Promise<void> {
    await this.pool.query('DELETE FROM p2p.peer WHERE url = $1', [url]).catch(rethrowAway);
  }
}
