import { type RowImage, type RowState, sameFields, sameVersion } from '@pgmesh/core';
import type { PoolClient } from 'pg';
import { recordSets } from '../history/record';
import { inData, inMeta, keysEqual, rekeyed } from '../keys';
import { parkUnread } from '../parking/unread';
import type { Column, TableShape } from '../table-shape';
import { typed } from '../typed-text';
import { type Judgement, refusedBy } from './judge';
import { hasState, isComposed, type KeptRow, standsAs, toStored } from './kept-row';
import { cannotRead } from './unreadable';
import { imageOf, renumbering, updatedColumns } from './merge-sql';

/** A row with several versions, or that had them: how it was kept, and what it comes to. */
export interface JudgedRow extends Judgement {
  readonly key: readonly string[];
  readonly state: RowState;
  readonly before: KeptRow;
  /** Whether the sender has all of it: then it need not be told again. */
  readonly asSent: boolean;
  /** Why the visible row can be put nowhere here: then it is parked. */
  readonly unread?: string;
}

/** Rows as they stand now; `changed` are those of them that did not stand so before. */
export interface Settled<Row> {
  readonly rows: readonly Row[];
  readonly changed: readonly Row[];
}

/**
 * Makes rows stand as they were judged: what is visible goes into the table, the set of versions into the metadata. A composed row
 * that the table does not take leaves its conflict open.
 */
export async function settle<Row extends JudgedRow>(
  client: PoolClient,
  shape: TableShape,
  judged: readonly Row[],
  via: string | null,
): Promise<Settled<Row>> {
  const isPut = (row: Row) => row.visible.image !== null && !(isMade(row) ? isKept(row) : isShown(row));
  // Deletes first: what they leave free may be taken by another row.
  const removed = judged.filter(({ before, visible }) => visible.image === null && !before.deleted);
  await show(client, shape, removed);
  const put = (await tryToPut(client, shape, judged.filter(isPut))).values();
  const rows = judged.map((row) => (isPut(row) ? put.next().value! : row));
  const changed = rows.filter((row) => !(row.unread === undefined ? isKept(row) : isKeptUnread(row)));
  await keep(client, shape, changed, via);
  const unread = rows.flatMap(({ unread: message, ...row }) => (message === undefined ? [] : [{ ...row, message }]));
  if (unread.length > 0) shape.lifted!.unread.push(...(await parkUnread(client, shape, unread)));
  return { rows, changed };
}

/** Whether the row is one that nobody wrote so. */
function isMade({ visible }: JudgedRow): boolean {
  return visible.composed && visible.image !== null;
}

/** Whether nothing has to change, in the table or in the metadata. */
function isKept(row: JudgedRow): boolean {
  const { before, state, visible } = row;
  return (
    isShown(row) &&
    standsAs(before, visible.main) &&
    isComposed(before) === visible.composed &&
    sameFields(before.fields ?? null, visible.fields) &&
    hasState(before, state)
  );
}

/** Whether a row that can be put nowhere is kept as it should be: all its versions beside nothing. */
function isKeptUnread({ before, state, visible }: JudgedRow): boolean {
  return (
    before.deleted &&
    isComposed(before) &&
    standsAs(before, visible.main) &&
    sameFields(before.fields ?? null, visible.fields) &&
    hasState(before, state)
  );
}

/** Whether the table has the visible row. A version that stood and stands is not looked into: what ALTER TABLE made of it is it. */
function isShown({ before, visible }: JudgedRow): boolean {
  const { image, main, composed } = visible;
  if (before.deleted !== (image === null)) return false;
  if (image === null || (!composed && !isComposed(before) && standsAs(before, main))) return true;
  return Object.keys(image).every((column) => before.image?.[column] === image[column]);
}

/**
 * Puts rows into the table. Of composed ones, which nobody wrote so, nobody knows whether they can be: where rows were lifted, they are tried by
 * themselves. Elsewhere one that the table does not take ends the transaction, which is begun again with rows lifted: what else
 * there is makes no difference to what becomes of it.
 */
async function tryToPut<Row extends JudgedRow>(
  client: PoolClient,
  shape: TableShape,
  rows: readonly Row[],
): Promise<Row[]> {
  if (rows.length === 0) return [];
  if (shape.lifted !== undefined) {
    const tried = (await tryOut(client, shape, rows.filter(isMade))).values();
    const put = rows.map((row) => (isMade(row) ? tried.next().value! : row));
    const lifted = (
      await putLifted(
        client,
        shape,
        put.filter((row) => !isShown(row)),
      )
    ).values();
    return put.map((row) => (isShown(row) ? row : lifted.next().value!));
  }
  await show(client, shape, rows);
  return rows.some(isMade) ? withImages(rows, await readImages(client, shape, rows.filter(isMade))) : [...rows];
}

/** Nothing is in the way of a lifted row but what it is itself. Those with values that cannot be read here are found by halving. */
async function putLifted<Row extends JudgedRow>(
  client: PoolClient,
  shape: TableShape,
  rows: readonly Row[],
): Promise<Row[]> {
  if (rows.length === 0) return [];
  await client.query('SAVEPOINT put');
  try {
    await show(client, shape, rows);
    await client.query('RELEASE SAVEPOINT put');
    return [...rows];
  } catch (error) {
    if (!cannotRead(error, shape)) throw error;
    await client.query('ROLLBACK TO SAVEPOINT put; RELEASE SAVEPOINT put');
    if (rows.length === 1) {
      await show(
        client,
        shape,
        rows.map((row) => ({ ...row, visible: { ...row.visible, image: null } })),
      );
      return rows.map((row) => ({ ...row, unread: (error as Error).message }));
    }
    const half = rows.length >> 1;
    const [first, second] = [rows.slice(0, half), rows.slice(half)];
    return [...(await putLifted(client, shape, first)), ...(await putLifted(client, shape, second))];
  }
}

/** Those that the table does not take are found by halving, and stand by the last write; one of fields that cannot be read here stays as it is. */
async function tryOut<Row extends JudgedRow>(
  client: PoolClient,
  shape: TableShape,
  rows: readonly Row[],
): Promise<Row[]> {
  if (rows.length === 0) return [];
  const trial = { ...shape, relation: shape.lifted!.trial };
  await client.query('SAVEPOINT try');
  try {
    await show(client, trial, rows);
    const images = await readImages(client, trial, rows);
    await client.query('ROLLBACK TO SAVEPOINT try');
    return withImages(rows, images);
  } catch (error) {
    if (!cannotRead(error, shape)) throw error;
    await client.query('ROLLBACK TO SAVEPOINT try');
    const [first, ...others] = rows as [Row, ...Row[]];
    if (others.length === 0) {
      // Somebody wrote each of the fields: where they are known, the row stands.
      const isUnread = first.visible.decidedBy === 'merge-fields' && !(await canBePut(client, shape, first));
      return [isUnread ? first : { ...first, ...refusedBy((error as Error).message, first.state, first) }];
    }
    const half = rows.length >> 1;
    return [...(await tryOut(client, shape, rows.slice(0, half))), ...(await tryOut(client, shape, rows.slice(half)))];
  }
}

async function canBePut(client: PoolClient, shape: TableShape, row: JudgedRow): Promise<boolean> {
  try {
    await show(client, shape, [row]);
    return true;
  } catch (error) {
    if (!cannotRead(error, shape)) throw error;
    return false;
  } finally {
    await client.query('ROLLBACK TO SAVEPOINT try');
  }
}

/** As the table has them: a resolver may write 1.5 where the column says 1.50. */
function withImages<Row extends JudgedRow>(rows: readonly Row[], images: ReadonlyMap<string, RowImage>): Row[] {
  return rows.map((row) => {
    const image = images.get(JSON.stringify(row.key)) ?? row.visible.image;
    return { ...row, visible: { ...row.visible, image } };
  });
}

/** By the rows' keys as JSON. */
async function readImages(
  client: PoolClient,
  shape: TableShape,
  rows: readonly JudgedRow[],
): Promise<Map<string, RowImage>> {
  const columns = shape.columns.map((column) => ({ ...column, at: column.ident }));
  const { rows: read } = await client.query<{ key: string[]; image: RowImage }>(
    `SELECT r.key, ${imageOf(columns, 'd')} AS image FROM jsonb_to_recordset($1::jsonb) AS r (key jsonb)
       JOIN ${shape.relation} AS d ON ${keysEqual(shape, inData('d'), inRecord)}`,
    [JSON.stringify(rows.map(({ key }) => ({ key })))],
  );
  return new Map(read.map(({ key, image }) => [JSON.stringify(key), image]));
}

async function keep(
  client: PoolClient,
  shape: TableShape,
  rows: readonly JudgedRow[],
  via: string | null,
): Promise<void> {
  if (rows.length === 0) return;
  const records = rows.map(({ key, state, visible, asSent, unread }) => {
    const { main, image, fields, composed } = visible;
    const { stamp, origin, priority, past, made = null } = toStored(main);
    const others = composed || unread !== undefined ? state : state.filter((one) => !sameVersion(one, main));
    const siblings = others.length > 0 ? others.map(toStored) : null;
    // Equal keys may be other bytes: 1.0 and 1.00.
    const shown = shape.key.map(({ name }, i) => image?.[name] ?? key[i]);
    return {
      key,
      shown,
      stamp,
      origin,
      priority,
      past,
      fields,
      deleted: image === null || unread !== undefined,
      siblings,
      via: asSent ? via : null,
      made,
    };
  });
  await client.query(
    `UPDATE ${shape.meta} AS m SET ${rekeyed(shape, (column, i) => typed(column, `(r.shown ->> ${i})`))}stamp = r.stamp, origin = r.origin, priority = r.priority, past = r.past, fields = r.fields,
       deleted = r.deleted, siblings = r.siblings, xid = pg_current_xact_id(), via = r.via,
       made_in = nullif(r.made ->> 0, r.via), made_xid = (r.made ->> 1)::xid8
     FROM jsonb_to_recordset($1::jsonb) AS r
       (key jsonb, shown jsonb, stamp int8, origin text, priority int4, past jsonb, fields jsonb, deleted bool, siblings jsonb, via text, made jsonb)
     WHERE ${keysEqual(shape, inMeta('m'), inRecord)}`,
    [JSON.stringify(records)],
  );
  await recordSets(
    client,
    shape,
    rows.map(({ key, state, visible }) => ({ key, state, visible: visible.main })),
  );
}

const inRecord = (column: Column, i: number) => typed(column, `(r.key ->> ${i})`);

/** Puts the visible rows into their table. */
async function show(client: PoolClient, shape: TableShape, rows: readonly JudgedRow[]): Promise<void> {
  const from = 'jsonb_to_recordset($1::jsonb) AS r (key jsonb, image jsonb)';
  const removed = rows.filter(({ visible }) => visible.image === null);
  if (removed.length > 0) {
    await client.query(
      `DELETE FROM ${shape.relation} AS d USING ${from} WHERE ${keysEqual(shape, inData('d'), inRecord)}`,
      [JSON.stringify(removed.map(({ key }) => ({ key })))],
    );
  }
  // A writer may have lacked columns that we have: they keep their values, or take their defaults.
  const put = new Map<string, { columns: readonly Column[]; records: unknown[] }>();
  for (const { key, visible } of rows) {
    const { image } = visible;
    if (image === null) continue;
    const columns = shape.columns.filter(({ name }) => Object.hasOwn(image, name));
    const names = JSON.stringify(columns.map(({ name }) => name));
    const group = put.get(names) ?? { columns, records: [] };
    group.records.push({ key, image });
    put.set(names, group);
  }
  for (const { columns, records } of put.values()) {
    const value = (column: Column) => typed(column, `(r.image ->> '${column.name.replace(/'/g, "''")}')`);
    const renumber = renumbering({ shape, columns }, from, keysEqual(shape, inData('d'), inRecord), value);
    if (renumber) await client.query(renumber, [JSON.stringify(records)]);
    const values = columns.map(value);
    const updates = updatedColumns(shape, columns).map(({ ident }) => `${ident} = excluded.${ident}`);
    await client.query(
      `INSERT INTO ${shape.relation} AS d (${columns.map(({ ident }) => ident).join(', ')}) OVERRIDING SYSTEM VALUE
       SELECT ${values.join(', ')} FROM ${from} ON CONFLICT (${shape.key.map(({ ident }) => ident).join(', ')})
       DO ${updates.length > 0 ? `UPDATE SET ${updates.join(', ')}` : 'NOTHING'}`,
      [JSON.stringify(records)],
    );
  }
}
