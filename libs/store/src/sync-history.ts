import type { Pool } from 'pg';
import { rethrowAway } from './database';

export interface SyncRecord {
  readonly peer: string;
  readonly direction: 'pull' | 'push' | 'received';
  readonly kind: 'window' | 'copy';
  readonly rows: number;
  readonly changed: number;
  readonly conflicts: number;
  readonly started_at: Date;
  readonly duration_ms: number;
  readonly error: string | null;
}

const fields = 'peer, direction, kind, rows, changed, conflicts, started_at, duration_ms, error';
const kept = 10_000;

/** What was exchanged with whom; the latest 10,000 records. */
export class PostgresSyncHistory {
  private waiting: SyncRecord[] = [];
  private writing: Promise<void> | null = null;

  constructor(private readonly pool: Pool) {}

  /** Records are written in the background, several at a time: under load there is one for every few milliseconds. */
  async add(record: SyncRecord): Promise<void> {
    this.waiting.push(record);
    if (this.waiting.length > kept) this.waiting.shift();
    this.writing ??= this.writeSoon().finally(() => (this.writing = null));
  }

  async list(limit: number): Promise<SyncRecord[]> {
    await this.flush();
    const { rows } = await this.pool
      .query<SyncRecord>(`SELECT ${fields} FROM p2p.sync_history ORDER BY id DESC LIMIT $1`, [limit])
      .catch(rethrowAway);
    return rows;
  }

  /** Writes what is waiting. Records that cannot be written now wait on: the record of exchanges never fails an exchange. */
  async flush(): Promise<void> {
    const records = this.waiting;
    if (records.length === 0) return;
    this.waiting = [];
    try {
      await this.pool.query(
        `INSERT INTO p2p.sync_history (${fields}) SELECT ${fields} FROM jsonb_to_recordset($1::jsonb) AS r (peer text, direction text, kind text,
           rows int4, changed int4, conflicts int4, started_at timestamptz, duration_ms float8, error text)`,
        [JSON.stringify(records)],
      );
      await this.pool.query(
        `DELETE FROM p2p.sync_history WHERE id <= (SELECT max(id) FROM p2p.sync_history) - ${kept}`,
      );
    } catch {
      this.waiting = [...records, ...this.waiting].slice(-kept);
    }
  }

  private async writeSoon(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 500).unref());
    await this.flush();
  }
}
