import { mergeStates, type RowImage, type Rules, sameState, sameVersion } from '@pgmesh/core';
import type { PoolClient } from 'pg';
import { assertShapes, type TableShape } from '../table-shape';
import { isCrowd } from './crowd';
import { concurrentBatch, type MergeStatements } from './merge-sql';
import { repeatedKeys } from './soundness';
import type { Stage } from './stage';
import { fromStored, type MergedRow, standing, type StoredVersion, writeMerged } from './standing';

interface ConcurrentRow extends StoredVersion {
  key: string[];
  siblings: StoredVersion[] | null;
  v1: number;
  v2: string;
  v3: number;
  v4: StoredVersion['past'];
  v6: StoredVersion[] | null;
  v7: boolean;
  staged: RowImage;
  /** How many there are, of which as many as fit into memory were read. */
  found: number;
}

/** What became of rows that were not simply older or newer. */
export interface Resolution {
  readonly changed: number;
  /** Rows that are in conflict now and were not, or with more versions than before. */
  readonly conflicts: number;
  /** The most versions of a row that has grown to be a crowd; 0 when none has. */
  readonly crowd: number;
}

/**
 * Merges the rows whose versions are concurrent with ours: the union of both sets less what is covered, and the visible row by
 * the strategy. The only place where rows become JavaScript objects; a thousand at a time, or as many as fit into
 * some megabytes.
 */
export async function resolveConcurrent(
  client: PoolClient,
  stage: Stage,
  statements: MergeStatements,
  via: string,
  rules: Rules,
): Promise<Resolution> {
  let changed = 0;
  let conflicts = 0;
  let crowd = 0;
  let after: readonly string[] = [];
  await assertShapes(client, [stage.shape]);
  await client.query(statements.lockConcurrent, [...stage.literals]);
  for (;;) {
    const text = statements.concurrent(after.length > 0);
    const { rows } = await client.query<ConcurrentRow>(text, [...stage.literals, ...after]);
    if (rows.some(({ key }, i) => i > 0 && key.every((part, k) => part === rows[i - 1]!.key[k])))
      throw repeatedKeys(stage);
    const merged = rows.map((row) => mergeRow(stage.shape, rules, row)).filter((row) => row.changed);
    if (merged.length > 0) await writeMerged(client, stage.shape, merged, via);
    changed += merged.length;
    conflicts += merged.filter((row) => row.conflict).length;
    crowd = Math.max(crowd, ...merged.map((row) => (row.isCrowd ? row.state.length : 0)));
    if (rows.length < concurrentBatch && rows.length === (rows[0]?.found ?? 0)) return { changed, conflicts, crowd };
    after = rows.at(-1)!.key;
  }
}

interface MergedConflict extends MergedRow {
  readonly changed: boolean;
  readonly conflict: boolean;
  readonly isCrowd: boolean;
}

function mergeRow(shape: TableShape, rules: Rules, row: ConcurrentRow): MergedConflict {
  const main = fromStored({ ...row, image: row.deleted ? null : row.image });
  const ours = [main, ...(row.siblings ?? []).map(fromStored)];
  const arrived = fromStored({
    stamp: row.v1,
    origin: row.v2,
    priority: row.v3,
    past: row.v4,
    deleted: row.v7,
    image: row.v7 ? null : row.staged,
  });
  const theirs = [arrived, ...(row.v6 ?? []).map(fromStored)];
  const state = mergeStates(ours, theirs);
  const visible = standing(shape, rules, state, row.key);
  return {
    key: row.key,
    state,
    visible,
    // What stands may have to change though the set has not: by rules that are others than they were.
    changed: !sameState(state, ours) || !sameVersion(visible, main),
    asSent: sameState(state, theirs),
    shown: !sameVersion(visible, main),
    conflict: state.length > 1 && state.length > ours.length,
    isCrowd: isCrowd(ours.length, state.length),
  };
}
