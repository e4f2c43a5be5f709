import { randomBytes } from 'node:crypto';
import type { PoolClient } from 'pg';
import type { Connections } from '../connections';
import type { Queryable } from '../database';

/**
 * The connections that one window is worked on with. A small window has one, whose plans are index scans; a large one is staged on
 * one, in tables that go with the desk, and merged on another.
 */
export class Desk implements AsyncDisposable {
  /** Whether the connections are in a state that nobody can answer for. */
  broken = false;
  private stager: Promise<PoolClient> | null = null;
  private merger: Promise<PoolClient> | null = null;
  private readonly name = `p2p.stage_${randomBytes(6).toString('hex')}`;
  private readonly stages: string[] = [];

  constructor(private readonly connections: Pick<Connections, 'merges' | 'bulk' | 'ordinary'>) {}

  staging(): Promise<PoolClient> {
    return (this.stager ??= this.connections.ordinary.connect());
  }

  merging(): Promise<PoolClient> {
    return (this.merger ??= (this.stages.length > 0 ? this.connections.bulk : this.connections.merges).connect());
  }

  nextStage(): string {
    const stage = `${this.name}_${this.stages.length + 1}`;
    this.stages.push(stage);
    return stage;
  }

  /** Stages that cannot be dropped now are dropped when the store is next opened. */
  async [Symbol.asyncDispose](): Promise<void> {
    const [stager, merger] = await Promise.all([this.stager?.catch(() => null), this.merger?.catch(() => null)]);
    merger?.release(this.broken);
    if (stager && this.stages.length > 0 && !this.broken) {
      await stager.query(`DROP TABLE IF EXISTS ${this.stages.join(', ')}`).catch(() => (this.broken = true));
    }
    stager?.release(this.broken);
  }
}

/** Drops what windows left behind whose node was killed. */
export async function dropStages(db: Queryable): Promise<void> {
  const { rows } = await db.query<{ name: string }>(
    `SELECT format('p2p.%I', c.relname) AS name FROM pg_class AS c
     WHERE c.relnamespace = 'p2p'::regnamespace AND c.relkind = 'r' AND c.relname ~ '^stage_[0-9a-f]{12}_'`,
  );
  for (const { name } of rows) await db.query(`DROP TABLE IF EXISTS ${name}`);
}
