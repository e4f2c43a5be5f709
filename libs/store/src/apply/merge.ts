import type { PoolClient, QueryResult } from 'pg';
import { prepared } from '../prepared';
import { mergeStatements } from './merge-sql';
import { resolveConcurrent } from './resolve';
import type { Stage } from './stage';
import { checkStamps } from './stamps';

export interface MergeOptions {
  /** The feed that the window came by. */
  readonly via: string;
  readonly sender: string;
  /** How far ahead of our clock a version may be stamped, in microseconds. */
  readonly maxDrift: number;
  readonly careful: boolean;
}

export interface Merged {
  readonly changed: number;
  readonly conflicts: number;
}

/**
 * A row of the window met one of ours that has no version, or one that was being inserted. The transaction is begun again;
 * rows without a version are given one first.
 */
export class Collision extends Error {
  constructor(readonly stage: Stage) {
    super(`A row of ${stage.shape.name} appeared while a window was merged`);
  }
}

/**
 * Merges one table's part of a window. All but true conflicts is done by statements over the whole part; deletes come before
 * inserts, so that a key that changed hands within the window is free.
 * @param careful whether rows may have appeared here that the statements did not see; a large part is tried without at first
 * @throws Collision, unique_violation when the transaction has to be begun again, carefully
 * @throws Problem `clock_drift`
 */
export async function mergeStage(client: PoolClient, stage: Stage, merge: MergeOptions): Promise<Merged> {
  const statements = mergeStatements(stage);
  const run = (text: string, more: readonly unknown[] = []): Promise<QueryResult<Record<string, number>>> => {
    const values = [...stage.literals, ...more];
    return client.query(stage.literals.length > 0 ? prepared(text, values) : { text, values });
  };
  const counts = async (text: string, more?: readonly unknown[]) => (await run(text, more)).rows[0]!;

  const { stamp, sibling, now } = await counts(statements.lock);
  checkStamps(stage, Math.max(stamp ?? 0, sibling ?? 0), now!, merge);

  const { removed = 0, put = 0 } = await counts(statements.mark, [merge.via]);
  const all = removed + put === stage.count;
  if (removed > 0) await run(statements.remove);
  if (put > 0) {
    const updated = (statements.put && (await run(statements.put(all))).rowCount) ?? 0;
    const missing = updated === put ? 0 : ((await run(statements.putMissing)).rowCount ?? 0);
    if (statements.put && updated + missing !== put) throw new Collision(stage);
  }
  if (all) return { changed: stage.count, conflicts: 0 };

  const { matched = 0, concurrent = 0 } = await counts(statements.census);
  const fresh = stage.count - matched;
  if (fresh > 0) {
    const careful = merge.careful || matched > 0 || stage.literals.length > 0;
    const inserted = (await run(statements.putNew(careful))).rowCount;
    const { marked, live } = await counts(statements.markNew(careful), [merge.via]);
    if (marked !== fresh || live !== inserted) throw new Collision(stage);
  }
  const resolved =
    concurrent > 0 ? await resolveConcurrent(client, stage, statements, merge.via) : { changed: 0, conflicts: 0 };
  return { changed: removed + put + fresh + resolved.changed, conflicts: resolved.conflicts };
}
