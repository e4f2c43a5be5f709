import { type RowImage, type RowState, ruleFor, type Rules, type RowVersion, visible } from '@pgmesh/core';
import type { PoolClient } from 'pg';
import { recordSets } from '../history/record';
import { inData, inMeta, keysEqual } from '../keys';
import type { Column, TableShape } from '../table-shape';
import { renumbering, updatedColumns } from './merge-sql';

/** A version as it lies in the `siblings` of a metadata row. */
export interface StoredVersion {
  stamp: number;
  origin: string;
  priority: number;
  past: Record<string, number> | null;
  deleted: boolean;
  image: RowImage | null;
}

/** A row with several versions, and which of them stands. */
export interface MergedRow {
  readonly key: readonly string[];
  readonly state: RowState;
  readonly visible: RowVersion;
  /** Whether the sender has all of it: then it need not be told again. */
  readonly asSent: boolean;
  /** Whether the table's row has to change. */
  readonly shown: boolean;
}

/** The version that stands by the rules: the same wherever the set and the rules are the same (invariant 5). */
export function standing(shape: TableShape, rules: Rules, state: RowState, key: readonly string[]): RowVersion {
  const { strategy } = ruleFor(rules, `${shape.schema}.${shape.table}`, key);
  const keyColumns = shape.key.map(({ name }) => name);
  return visible(state, { strategy, keyColumns, jsonb: new Set() }, key).main;
}

/** Writes the rows in conflict: what stands goes into the table, the set of versions into the metadata. */
export async function writeMerged(
  client: PoolClient,
  shape: TableShape,
  merged: readonly MergedRow[],
  via: string | null,
): Promise<void> {
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
  await recordSets(client, shape, merged);
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

export function fromStored({ stamp, origin, priority, past, deleted, image }: StoredVersion): RowVersion {
  return { stamp, origin, priority, past: past ?? {}, deleted, image };
}

function toStored({ stamp, origin, priority, past, deleted, image }: RowVersion): StoredVersion {
  return { stamp, origin, priority, past: Object.keys(past).length > 0 ? past : null, deleted, image };
}
