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
import { assertShapes, type Column, type TableShape } from '../table-shape';
import { concurrentBatch, type MergeStatements, renumbering, updatedColumns } from './merge-sql';
import { repeatedKeys } from './soundness';
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
  /** How many there are, of which as many as fit into memory were read. */
  found: number;
}

/** What became of rows that were not simply older or newer. */
export interface Resolution {
  readonly changed: number;
  /** Rows that are in conflict now and were not, or with more versions than before. */
  readonly conflicts: number;
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
): Promise<Resolution> {
  let changed = 0;
  let conflicts = 0;
  let after: readonly string[] = [];
  await assertShapes(client, [stage.shape]);
  await client.query(statements.lockConcurrent, [...stage.literals]);
  for (;;) {
    const text = statements.concurrent(after.length > 0);
    const { rows } = await client.query<ConcurrentRow>(text, [...stage.literals, ...after]);
    if (rows.some(({ key }, i) => i > 0 && key.every((part, k) => part === rows[i - 1]!.key[k])))
      throw repeatedKeys(stage);
    const merged = rows.map(mergeRow).filter((row) => row.changed);
    if (merged.length > 0) await write(client, stage.shape, merged, via);
    changed += merged.length;
    conflicts += merged.filter((row) => row.conflict).length;
    if (rows.length < concurrentBatch && rows.length === (rows[0]?.found ?? 0)) return { changed, conflicts };
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
  await show(
    client,
    shape,
    merged.filter(({ shown }) => shown),
  );
  const records = merged.map(({ key, state, visible, asSent }) => {
    const { image: _image, ...version } = toStored(visible);
    const others = state.filter((one) => one !== visible);
    return { key, ...version, siblings: others.length > 0 ? others.map(toStored) : null, via: asSent ? via : null };
  });
  await client.query(
    `UPDATE ${shape.meta} AS m SET stamp = r.stamp, origin = r.origin, priority = r.priority, past = r.past, deleted = r.deleted,
       siblings = nullif(r.siblings, 'null'), xid = pg_current_xact_id(), via = r.via
     FROM jsonb_to_recordset($1::jsonb) AS r (key jsonb, stamp int8, origin text, priority int4, past jsonb, deleted bool, siblings jsonb, via text)
     WHERE ${keysEqual(shape, inMeta('m'), inRecord)}`,
    [JSON.stringify(records)],
  );
}

const inRecord = (column: Column, i: number) => parsed(column, `(r.key ->> ${i})`);

/** Puts the visible versions of rows into their table. */
async function show(client: PoolClient, shape: TableShape, rows: readonly MergedRow[]): Promise<void> {
  const from = 'jsonb_to_recordset($1::jsonb) AS r (key jsonb, image jsonb)';
  const removed = rows.filter(({ visible }) => visible.deleted);
  if (removed.length > 0) {
    await client.query(
      `DELETE FROM ${shape.name} AS d USING ${from} WHERE ${keysEqual(shape, inData('d'), inRecord)}`,
      [JSON.stringify(removed.map(({ key }) => ({ key })))],
    );
  }
  // A writer may have lacked columns that we have: they keep their values, or take their defaults.
  const put = new Map<string, { columns: readonly Column[]; records: unknown[] }>();
  for (const { key, visible } of rows) {
    if (visible.deleted) continue;
    const columns = shape.columns.filter(({ name }) => Object.hasOwn(visible.image!, name));
    const names = JSON.stringify(columns.map(({ name }) => name));
    const group = put.get(names) ?? { columns, records: [] };
    group.records.push({ key, image: visible.image });
    put.set(names, group);
  }
  for (const { columns, records } of put.values()) {
    const value = (column: Column) => parsed(column, `(r.image ->> '${column.name.replace(/'/g, "''")}')`);
    const renumber = renumbering({ shape, columns }, from, keysEqual(shape, inData('d'), inRecord), value);
    if (renumber) await client.query(renumber, [JSON.stringify(records)]);
    const values = columns.map(value);
    const updates = updatedColumns(shape, columns).map(({ ident }) => `${ident} = excluded.${ident}`);
    await client.query(
      `INSERT INTO ${shape.name} AS d (${columns.map(({ ident }) => ident).join(', ')}) OVERRIDING SYSTEM VALUE
       SELECT ${values.join(', ')} FROM ${from} ON CONFLICT (${shape.key.map(({ ident }) => ident).join(', ')})
       DO ${updates.length > 0 ? `UPDATE SET ${updates.join(', ')}` : 'NOTHING'}`,
      [JSON.stringify(records)],
    );
  }
}

/** A text as its type's input function reads it. The cast of text to regclass does something else: it takes names alone. */
function parsed({ type }: Column, text: string): string {
  return type === 'regclass' ? `regclassin(textout(${text}))` : `${text}::${type}`;
}

function fromStored({ stamp, origin, priority, past, deleted, image }: StoredVersion): RowVersion {
  return { stamp, origin, priority, past: past ?? {}, deleted, image };
}

function toStored({ stamp, origin, priority, past, deleted, image }: RowVersion): StoredVersion {
  return { stamp, origin, priority, past: Object.keys(past).length > 0 ? past : null, deleted, image };
}
