import type { RowImage } from '@pgmesh/core';
import { Problem } from '@pgmesh/wire';
import type { Pool, PoolClient } from 'pg';
import { renumbering, updatedColumns } from './apply/merge-sql';
import { recordWritten } from './history/record';
import type { NodeIdentity } from './identity';
import { dataKeys, inData, inMeta, keysEqual } from './keys';
import { keptAge, supersession } from './reconcile';
import { assertShapes, type Column, type KeyColumn, ShapeChanged, type TableShape } from './table-shape';
import { typed } from './typed-text';
import { usersWrite } from './users-write';

/** The name of a version. */
export interface VersionName {
  readonly stamp: number;
  readonly origin: string;
}

/**
 * Writes a row as somebody decided it, or deletes it: an ordinary write, which covers every version that there is
 * here, and travels. Columns that the image lacks keep their values, or take their defaults.
 * @param key PostgreSQL's text, as rowKey gives it
 * @throws Problem `invalid_value`, `unknown_column`, `forbidden`, `not_found`, `busy`, `unavailable`
 */
export function decide(
  pool: Pool,
  identity: NodeIdentity,
  shape: TableShape,
  key: readonly string[],
  image: RowImage | null,
): Promise<VersionName> {
  return usersWrite(pool, (client) => decideIn(client, identity, shape, key, image));
}

/**
 * What the users' triggers look names up in: the role's and the database's own setting, as their own writes have it, instead of
 * ours. The names in our statements are whole.
 */
const usersSearchPath = `SELECT set_config('search_path', coalesce(
  (SELECT substr(c.setting, length('search_path=') + 1) FROM pg_db_role_setting AS s, unnest(s.setconfig) AS c (setting)
   WHERE c.setting LIKE 'search_path=%' AND s.setrole IN (0, to_regrole(quote_ident(session_user))::oid)
     AND s.setdatabase IN (0, (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()))
   ORDER BY s.setrole = 0, s.setdatabase = 0 LIMIT 1),
  (SELECT p.boot_val FROM pg_settings AS p WHERE p.name = 'search_path')), true)`;

/** The same in a transaction of usersWrite, for what has to be true before it and is noted with it. */
export async function decideIn(
  client: PoolClient,
  identity: NodeIdentity,
  shape: TableShape,
  key: readonly string[],
  image: RowImage | null,
): Promise<VersionName> {
  await assertAsRead(client, shape);
  await client.query(usersSearchPath);
  if (image === null) await remove(client, shape, key);
  else await put(client, shape, key, image);
  return (await writtenVersion(client, shape, key)) ?? cover(client, identity, shape, key, image !== null);
}

/** Columns may have come or gone since the shape was read. Names are compared as they are printed under our own path. */
async function assertAsRead(client: PoolClient, shape: TableShape): Promise<void> {
  await client.query('SET LOCAL search_path = pg_catalog');
  try {
    await assertShapes(client, [shape]);
  } catch (error) {
    if (!(error instanceof ShapeChanged)) throw error;
    const text = `The columns of ${shape.name} have just been changed. Nothing was written; try again.`;
    throw new Problem('busy', text, { table: shape.name }, { cause: error });
  }
}

/** The key's columns in SQL, from parameters that begin at `from`. */
const inParameters = (from: number) => (column: Column, i: number) => typed(column, `$${from + i}::text`);

/** The same where there is no column beside them whose collation would be the one that counts. */
const inCollation = (from: number) => (column: KeyColumn, i: number) =>
  typed({ type: column.definition }, `$${from + i}::text`);

async function remove(client: PoolClient, shape: TableShape, key: readonly string[]): Promise<void> {
  const isRow = keysEqual(shape, inData('d'), inParameters(1));
  await client.query(`DELETE FROM ${shape.name} AS d WHERE ${isRow}`, [...key]);
}

async function put(client: PoolClient, shape: TableShape, key: readonly string[], image: RowImage): Promise<void> {
  assertReadable(shape, image);
  const columns = shape.columns.filter(({ name }, i) => i < shape.key.length || Object.hasOwn(image, name));
  const values = columns.map(({ name }, i) => (Object.hasOwn(image, name) ? image[name]! : key[i]!));
  await assertSameKey(client, shape, key, values.slice(0, key.length));
  const value = (column: Column) => inParameters(1)(column, columns.indexOf(column));
  await renumber(client, shape, columns, value, values);
  if (await update(client, shape, key, columns, values)) return;
  const updates = updatedColumns(shape, columns).map(({ ident }) => `${ident} = excluded.${ident}`);
  const { rowCount } = await client.query(
    `INSERT INTO ${shape.name} AS d (${columns.map(({ ident }) => ident).join(', ')}) OVERRIDING SYSTEM VALUE
     VALUES (${columns.map(value).join(', ')}) ON CONFLICT (${dataKeys(shape)})
     DO ${updates.length > 0 ? `UPDATE SET ${updates.join(', ')}` : 'NOTHING'}`,
    values,
  );
  if (rowCount === 0 && updates.length > 0) throw stopped(shape);
}

/**
 * Whether the row was there to be changed. An insert that turns into an update would be refused for the columns that it leaves out
 * where they are NOT NULL, although the row has them.
 */
async function update(
  client: PoolClient,
  shape: TableShape,
  key: readonly string[],
  columns: readonly Column[],
  values: readonly (string | null)[],
): Promise<boolean> {
  const told = updatedColumns(shape, columns);
  const isRow = keysEqual(shape, inData('d'), inParameters(1));
  const set = told.map((column, i) => `${column.ident} = ${inParameters(1 + key.length)(column, i)}`).join(', ');
  const { rowCount } = await client.query(
    set
      ? `UPDATE ${shape.name} AS d SET ${set} WHERE ${isRow}`
      : `SELECT FROM ${shape.name} AS d WHERE ${isRow} FOR NO KEY UPDATE`,
    [...key, ...told.map((column) => values[columns.indexOf(column)]!)],
  );
  return rowCount! > 0;
}

function assertReadable(shape: TableShape, image: RowImage): void {
  for (const [column, value] of Object.entries(image) as [string, unknown][]) {
    if (!shape.columns.some(({ name }) => name === column)) {
      const known = shape.columns.map(({ name }) => name).join(', ');
      const text = `${shape.name} has no column ${JSON.stringify(column)} that can be written. It has: ${known}.`;
      throw new Problem('unknown_column', text, { table: shape.name, column });
    }
    // A lone surrogate would be written as another character.
    if (value === null || (typeof value === 'string' && !/\p{Surrogate}/u.test(value))) continue;
    const text = `The value of ${JSON.stringify(column)} is neither text in Unicode nor null. Values are PostgreSQL's text: "42", "t", "{1,2}".`;
    throw new Problem('invalid_value', text, { table: shape.name, column });
  }
}

/** Equal as the primary key's index has it: 1.0 and 1.00 are one row. */
async function assertSameKey(
  client: PoolClient,
  shape: TableShape,
  key: readonly string[],
  told: readonly (string | null)[],
): Promise<void> {
  if (told.every((value, i) => value === key[i])) return;
  const { rows } = await client.query<{ same: boolean | null }>(
    `SELECT ${keysEqual(shape, inCollation(1), inCollation(1 + key.length))} AS same`,
    [...told, ...key],
  );
  if (rows[0]!.same === true) return;
  const text = `The row has another key than the one that is decided on, ${JSON.stringify(key)}. A row keeps its key; leave it out, or send the same.`;
  throw new Problem('invalid_value', text, { table: shape.name });
}

/** Other values for columns that no update may name. The row is away for a moment: what it would take along has to be moved first. */
async function renumber(
  client: PoolClient,
  shape: TableShape,
  columns: readonly Column[],
  value: (column: Column) => string,
  values: (string | null)[],
): Promise<void> {
  const isRow = keysEqual(shape, inData('d'), value);
  const from = `(SELECT ${values.map((_, i) => `$${i + 1}::text`).join(', ')}) AS told`;
  const statement = renumbering({ shape, columns }, from, isRow, value);
  if (statement === null) return;
  const { rows } = await client.query<{ children: string | null }>(
    `SELECT string_agg(c.conrelid::regclass::text, ', ') AS children FROM pg_constraint AS c
     WHERE c.contype = 'f' AND c.confrelid = $1::oid AND c.confdeltype NOT IN ('a', 'r')`,
    [shape.oid],
  );
  const { children } = rows[0]!;
  const { rowCount } = await client.query(statement, values);
  if (children === null || rowCount === 0) return;
  const drawn = columns.filter(({ always }) => always).map(({ name }) => name);
  const text = `A value of ${drawn.join(', ')} differs, which is GENERATED ALWAYS AS IDENTITY: the row would have to be deleted and made again, and its rows in ${children} with it. Leave the column out.`;
  throw new Problem('invalid_value', text, { table: shape.name });
}

/** What capture made of the write; null when it had nothing to make a version of. */
async function writtenVersion(
  client: PoolClient,
  shape: TableShape,
  key: readonly string[],
): Promise<VersionName | null> {
  const { rows } = await client.query<VersionName>(
    `SELECT m.stamp, m.origin FROM ${shape.meta} AS m
     WHERE ${keysEqual(shape, inMeta('m'), inParameters(1))} AND m.xid = pg_current_xact_id()`,
    [...key],
  );
  return rows[0] ?? null;
}

/**
 * The row was as it was to be, so that capture left it alone: a version of its own all the same, over all that there are. Written, and
 * so locked, before it is judged whether the row is there: somebody else may have written it since.
 */
async function cover(
  client: PoolClient,
  identity: NodeIdentity,
  shape: TableShape,
  key: readonly string[],
  wanted: boolean,
): Promise<VersionName> {
  const { length } = key;
  const isVersion = keysEqual(shape, inMeta('m'), inParameters(1));
  const { rows: covered } = await client.query<VersionName>(
    `UPDATE ${shape.meta} AS m SET ${supersession({ fields: keptAge(shape) })}
     FROM (VALUES (p2p.stamp(), $${length + 1}::text, $${length + 2}::int4, $${length + 3}::bool, pg_current_xact_id()))
       AS excluded (stamp, origin, priority, deleted, xid)
     WHERE ${isVersion} RETURNING m.stamp, m.origin`,
    [...key, identity.origin, identity.priority, !wanted],
  );
  const { rows: there } = await client.query(
    `SELECT FROM ${shape.name} AS d WHERE ${keysEqual(shape, inData('d'), inParameters(1))}`,
    [...key],
  );
  if (there.length > 0 !== wanted) throw stopped(shape);
  await client.query(`SELECT pg_notify('p2p', '')`);
  if (covered[0]) {
    await recordWritten(client, shape);
    return covered[0];
  }
  const known = `${shape.name} has no row with the key ${JSON.stringify(key)}`;
  throw wanted
    ? new Problem('busy', `${known} that has a version yet. Nothing was written; try again.`)
    : new Problem('not_found', `${known}, and never had.`);
}

function stopped({ name }: TableShape): Problem {
  const text = `The row of ${name} is not as it was written: a trigger of the table stopped the write, or somebody wrote at the same time. Nothing was written.`;
  return new Problem('invalid_value', text, { table: name });
}
