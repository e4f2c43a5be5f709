import type { PoolClient, QueryResult } from 'pg';
import { prepared } from '../prepared';
import { mergeStatements } from './merge-sql';
import { resolveConcurrent } from './resolve';
import type { Stage } from './stage';

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
 * @throws Collision when the transaction has to be begun again
 */
export async function mergeStage(client: PoolClient, stage: Stage, via: string): Promise<Merged> {
  const statements = mergeStatements(stage);
  const run = (text: string, more: readonly unknown[] = []): Promise<QueryResult> => {
    const values = [...stage.literals, ...more];
    return client.query(stage.literals.length > 0 ? prepared(text, values) : { text, values });
  };
  await run(statements.lock);
  const { matched, concurrent, removed, put } = (await run(statements.mark, [via])).rows[0] as Record<string, number>;
  if (removed! > 0) await run(statements.remove);
  if (put! > 0) await run(statements.put);
  const fresh = stage.count - matched!;
  if (fresh > 0) {
    const inserted = (await run(statements.putNew)).rowCount ?? 0;
    const { marked, live } = (await run(statements.markNew, [via])).rows[0] as Record<string, number>;
    if (marked !== fresh || live !== inserted) throw new Collision(stage);
  }
  const resolved =
    concurrent! > 0 ? await resolveConcurrent(client, stage, statements, via) : { changed: 0, conflicts: 0 };
  return { changed: removed! + put! + fresh + resolved.changed, conflicts: resolved.conflicts };
}
