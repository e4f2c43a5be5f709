import {
  lastWriteWins,
  mergeStates,
  type RowImage,
  type RowState,
  type RowVersion,
  sameState,
  sameVersion,
} from '@pgmesh/core';
import type { PoolClient } from 'pg';
import { inData, inMeta, keysEqual } from '../keys';
import type { TableShape } from '../table-shape';
import { concurrentBatch, type MergeStatements } from './merge-sql';
import type { Stage } from './stage';

type Vector = Record<string, number> | null;

/** A version as it lies in the `siblings` of a metadata row. */
interface StoredVersion {
  stamp: number;
  origin: string;
  priority: number;
  past: Vector;
  deleted: boolean;
  image: RowImage | null;
}

interface ConcurrentRow extends StoredVersion {
  key: string[];
  siblings: StoredVersion[] | null;
  v1: number;
  v2: string;
  v3: number;
  v4: Vector;
  v6: StoredVersion[] | null;
  v7: boolean;
  staged: RowImage;
}

/** What became of rows that were not simply older or newer. */
export interface Resolution {
  readonly changed: number;
  /** Rows that are in conflict now and were not, or with more versions than before. */
  readonly conflicts: number;
}

/**
 * Merges the rows whose versions are concurrent with ours: the union of both sets less what is covered, and the visible row by
 * the strategy. The only place where rows become JavaScript objects; a thousand at a time.
 */
export async function resolveConcurrent(
  client: PoolClient,
  stage: Stage,
  statements: MergeStatements,
  via: string,
): Promise<Resolution> {
  let changed = 0;
  let conflicts = 0;
  let after: readonly string[] = [];
  for (;;) {
    const text = statements.concurrent(after.length > 0);
    const { rows } = await client.query<ConcurrentRow>(text, [...stage.literals, ...after]);
    const merged = rows.map(mergeRow).filter((row) => row.changed);
    if (merged.length > 0) await write(client, stage.shape, merged, via);
    changed += merged.length;
    conflicts += merged.filter((row) => row.conflict).length;
    if (rows.length < concurrentBatch) return { changed, conflicts };
    after = rows.at(-1)!.key;
  }
}

interface MergedRow {
  readonly key: readonly string[];
  readonly state: RowState;
  readonly visible: RowVersion;
  readonly changed: boolean;
  /** Whether the sender has all of it: then it need not be told again. */
  readonly asSent: boolean;
  /** Whether the table's row has to change. */
  readonly shown: boolean;
  readonly conflict: boolean;
}

function mergeRow(row: ConcurrentRow): MergedRow {
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
  const visible = lastWriteWins(state);
  return {
    key: row.key,
    state,
    visible,
    changed: !sameState(state, ours),
    asSent: sameState(state, theirs),
    shown: !sameVersion(visible, main),
    conflict: state.length > 1 && state.length > ours.length,
  };
}

async function write(client: PoolClient, shape: TableShape, merged: readonly MergedRow[], via: string): Promise<void> {
  const records = JSON.stringify(
    merged.map(({ key, state, visible, asSent, shown }) => {
      const others = state.filter((version) => version !== visible);
      const siblings = others.length > 0 ? others.map(toStored) : null;
      return { key, ...toStored(visible), siblings, via: asSent ? via : null, shown };
    }),
  );
  const from = `jsonb_to_recordset($1::jsonb) AS r (key jsonb, stamp int8, origin text, priority int4, past jsonb, deleted bool,
    image jsonb, siblings jsonb, via text, shown bool)`;
  const inRecord = (column: { type: string }, i: number) => `(r.key ->> ${i})::${column.type}`;
  const dataIsRecord = keysEqual(shape, inData('d'), inRecord);
  await client.query(`DELETE FROM ${shape.name} AS d USING ${from} WHERE r.shown AND r.deleted AND ${dataIsRecord}`, [
    records,
  ]);
  const idents = shape.columns.map((column) => column.ident).join(', ');
  const values = shape.columns.map((column) => `(r.image ->> '${column.name.replace(/'/g, "''")}')::${column.type}`);
  const updates = shape.columns.filter((column) => !column.always).map((c) => `${c.ident} = excluded.${c.ident}`);
  await client.query(
    `INSERT INTO ${shape.name} AS d (${idents}) OVERRIDING SYSTEM VALUE SELECT ${values.join(', ')} FROM ${from}
     WHERE r.shown AND NOT r.deleted
     ON CONFLICT (${shape.key.map((column) => column.ident).join(', ')}) DO ${updates.length > 0 ? `UPDATE SET ${updates.join(', ')}` : 'NOTHING'}`,
    [records],
  );
  await client.query(
    `UPDATE ${shape.meta} AS m SET stamp = r.stamp, origin = r.origin, priority = r.priority, past = r.past, deleted = r.deleted,
       siblings = nullif(r.siblings, 'null'), xid = pg_current_xact_id(), via = r.via
     FROM ${from} WHERE ${keysEqual(shape, inMeta('m'), inRecord)}`,
    [records],
  );
}

function fromStored({ stamp, origin, priority, past, deleted, image }: StoredVersion): RowVersion {
  return { stamp, origin, priority, past: past ?? {}, deleted, image };
}

function toStored({ stamp, origin, priority, past, deleted, image }: RowVersion): StoredVersion {
  return { stamp, origin, priority, past: Object.keys(past).length > 0 ? past : null, deleted, image };
}
