import { highestStamp, mergeSides, mergeStates, type RowImage, type RowState, soundFields } from '@pgmesh/core';
import { Problem } from '@pgmesh/wire';
import type { PoolClient } from 'pg';
import { type RecordedConflict, recordConflicts } from '../conflicts/record';
import { deletionOf } from '../forgetting/copy-notes';
import { type Past, raiseStamps } from '../forgetting/past';
import { assertShapes, type TableShape } from '../table-shape';
import { isCrowd } from './crowd';
import type { Judge } from './judge';
import { writeKept } from './kept-columns';
import { hasState, type KeptRow, stateOf, type StoredVersion } from './kept-row';
import { concurrentBatch, type MergeStatements } from './merge-sql';
import { repeatedKeys } from './soundness';
import type { Stage } from './stage';
import { type JudgedRow, settle } from './standing';

interface ConcurrentRow extends KeptRow {
  key: string[];
  /** Whether it came with this very window, for the first time. */
  fresh: boolean;
  /** Whether the table has a row that nothing was known of. */
  unversioned: boolean;
  v1: number;
  v2: string;
  v3: number;
  v4: StoredVersion['past'];
  v5: StoredVersion['fields'];
  v6: StoredVersion[] | null;
  v7: boolean;
  v8: string | null;
  v9: string;
  xid: string;
  staged: RowImage;
  /** How many there are, of which as many as fit into memory were read. */
  found: number;
}

/** What became of rows that were not simply older or newer. */
export interface Resolution {
  readonly changed: number;
  /** Rows that are in conflict now and were not, or with more versions than before. */
  readonly conflicts: number;
  /** Their records, the first `notedMost` of them. */
  readonly noted: readonly RecordedConflict[];
  /** The most versions of a row that has grown to be a crowd; 0 when none has. */
  readonly crowd: number;
}

/** Conflicts of a window that are told one by one; the others are counted. */
export const notedMost = 1000;

/**
 * Merges the rows whose versions are concurrent with ours: the union of both sets less what is covered, and the visible row by
 * the strategy. The only place where rows become JavaScript objects; a thousand at a time, or as many as fit into
 * some megabytes.
 *
 * @param collision what to throw where a row of ours has no version
 */
export async function resolveConcurrent(
  client: PoolClient,
  stage: Stage,
  statements: MergeStatements,
  via: string | null,
  judge: Judge,
  forgetting: Forgetting,
  collision: () => Error,
): Promise<Resolution> {
  let changed = 0;
  let conflicts = 0;
  const noted: RecordedConflict[] = [];
  let crowd = 0;
  let after: readonly string[] = [];
  await assertShapes(client, [stage.shape]);
  await client.query(statements.lockConcurrent, [...stage.literals]);
  for (;;) {
    const text = statements.concurrent(after.length > 0);
    const { rows } = await client.query<ConcurrentRow>(text, [...stage.literals, ...after]);
    if (rows.some(({ key }, i) => i > 0 && key.every((part, k) => part === rows[i - 1]!.key[k])))
      throw repeatedKeys(stage);
    if (rows.some(({ unversioned }) => unversioned)) throw collision();
    const merged = rows.map((row) => mergeRow(stage.shape, judge, row, forgetting));
    const lost = Math.max(...merged.map((row) => row.lost), 0);
    if (lost > 0) await raiseStamps(client, lost);
    const settled = await settle(client, stage.shape, merged, via);
    changed += settled.changed.filter(({ fresh }) => !fresh).length;
    const news = new Set([...settled.changed, ...settled.rows.filter(({ fresh }) => fresh)]);
    const recorded = await recordConflicts(client, stage.shape, [...news].map(forRecord));
    const found = new Set<readonly string[]>(merged.filter(({ conflict }) => conflict).map(({ key }) => key));
    noted.push(...recorded.filter(({ key }) => found.has(key)).slice(0, notedMost - noted.length));
    conflicts += found.size;
    await writeKept(
      client,
      stage.shape,
      settled.changed.filter(({ fresh }) => !fresh),
    );
    crowd = Math.max(crowd, ...merged.map((row) => (row.isCrowd ? row.state.length : 0)));
    if (rows.length < concurrentBatch && rows.length === (rows[0]?.found ?? 0))
      return { changed, conflicts, noted, crowd };
    after = rows.at(-1)!.key;
  }
}

interface MergedRow extends JudgedRow {
  readonly fresh: boolean;
  readonly conflict: boolean;
  readonly isCrowd: boolean;
  /** The highest stamp of versions that were deleted, and the deletion forgotten; 0 where there was none. */
  readonly lost: number;
}

/** What is needed to tell what was deleted, and the deletion forgotten. */
export interface Forgetting {
  readonly past: Past;
  /** The sender's feed. */
  readonly feed: string;
  /** Under which we write. */
  readonly origin: string;
  /** Whether something of the table was forgotten here. */
  readonly isGuarded: boolean;
}

function mergeRow(
  shape: TableShape,
  judge: Judge,
  row: ConcurrentRow,
  { past, feed, origin, isGuarded }: Forgetting,
): MergedRow {
  const arrived: KeptRow = {
    stamp: row.v1,
    origin: row.v2,
    priority: row.v3,
    past: row.v4,
    fields: row.v5,
    siblings: row.v6,
    deleted: row.v7,
    image: row.staged,
    made: [row.v8 ?? feed, String(row.v9)],
  };
  const [ours, theirs] = [stateOf(row), stateOf(arrived)];
  if (!theirs.every(soundFields)) throw impossibleFields(shape);
  // Of a set that is new here some may have been deleted, and forgotten.
  const known = row.fresh ? [] : ours;
  const { state, lost } =
    row.fresh && !isGuarded ? { state: ours, lost: 0 } : join(known, theirs, BigInt(row.xid), past, origin);
  return {
    key: row.key,
    state,
    before: row,
    asSent: hasState(arrived, state),
    fresh: row.fresh,
    lost,
    conflict: state.length > 1 && (row.fresh || state.length > ours.length),
    ...judge.judge(shape, state, row.key),
    isCrowd: isCrowd(ours.length, state.length),
  };
}

/** Where nothing was forgotten it is the join of the two. Where either side has forgotten what the other has, that is dropped. */
function join(
  ours: RowState,
  theirs: RowState,
  xid: bigint,
  past: Past,
  origin: string,
): { state: RowState; lost: number } {
  const all = mergeStates(ours, theirs);
  const state = mergeSides(
    { state: ours, passed: (version) => past.passedByThem(version, xid) },
    { state: theirs, passed: (version) => past.passedByUs(version) },
  );
  if (state.length === all.length) return { state, lost: 0 };
  return { state: state.length > 0 ? state : [deletionOf(all, origin)], lost: highestStamp(all) ?? 0 };
}

function forRecord({ fresh, before, ...row }: MergedRow) {
  return { ...row, before: fresh ? [] : stateOf(before) };
}

function impossibleFields({ name }: TableShape): Problem {
  return new Problem(
    'invalid_version',
    `A version of ${name} has impossible field stamps. Nothing of the window was applied.`,
    {
      table: name,
    },
  );
}
