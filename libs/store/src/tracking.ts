import { type MaxVersions, maxVersionsOf } from '@pgmesh/core';
import { escapeLiteral, type Pool, type PoolClient } from 'pg';
import type { Keeps } from './apply/judge';
import { inTransaction, type Queryable } from './database';
import { captureHistory, historyTableStatement, noHistory, prints, printsStatement } from './history/capture-block';
import type { NodeIdentity } from './identity';
import { dataKeys, inData, inMeta, keysEqual, metaKeys, rekeyed } from './keys';
import { keptAge, supersession } from './reconcile';
import { readShapes, type TableShape } from './table-shape';
import { fillTemplate } from './template';

/**
 * Brings a table under capture: its metadata table, its capture function, its triggers. Safe to run again: functions are
 * replaced (a new incarnation writes under a new origin; the table may have another name), missing triggers are added (a new
 * partition has none), and the key in the metadata follows the table's.
 * @param keep how many versions are to be kept; as before unless given
 */
export async function track(
  pool: Pool,
  identity: NodeIdentity,
  oid: number,
  keeps: KeepsOf,
  keep: MaxVersions | null = null,
): Promise<TableShape> {
  return inTransaction(pool, 'BEGIN', async (client) => {
    await client.query('LOCK TABLE p2p.tracked_table IN SHARE ROW EXCLUSIVE MODE');
    const { rows } = await client.query<{ id: number; made: boolean }>(
      `INSERT INTO p2p.tracked_table (relation, name)
       SELECT c.oid, format('%I.%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = $1
       ON CONFLICT (relation) DO UPDATE SET name = excluded.name RETURNING id, xmax = 0 AS made`,
      [oid],
    );
    const { id, made } = rows[0]!;
    const found = (await readShapes(client, id))[0]!;
    const maxVersions = keep ? maxVersionsOf(keep, `${found.schema}.${found.table}`) : found.maxVersions;
    const shape = { ...found, maxVersions, oldestFirst: keeps(found).age };
    if (shape.key.length === 0) {
      throw new Error(
        `${shape.name} has lost its primary key. Its changes wait here until it has one: ALTER TABLE ${shape.name} ADD PRIMARY KEY (…);`,
      );
    }
    const moved = await notePrimaryKey(client, shape);
    if (made) await client.query(trackStatement(shape));
    else await followKey(client, shape, moved);
    await followHistory(client, shape, found.maxVersions);
    await client.query('UPDATE p2p.tracked_table SET oldest_first = $2 WHERE id = $1', [id, shape.oldestFirst]);
    if (namesColumns(shape, keeps)) await followColumns(client, shape);
    await client.query(captureStatement(shape, identity, keeps(shape)));
    if (!made) await dropHas(client, shape, `${has(shape)}(${shape.key.map((column) => column.type).join(', ')})`);
    await addTriggers(client, shape);
    return shape;
  });
}

/** The shared tables that are no longer what their capture functions name: renamed, their key changed, or their columns where those are named. */
export async function findUnfit(db: Queryable, shapes: readonly TableShape[], keeps: KeepsOf): Promise<TableShape[]> {
  if (shapes.length === 0) return [];
  const { rows: made } = await db.query<{ name: string }>(
    `SELECT 'p2p.' || proname AS name FROM pg_proc WHERE pronamespace = 'p2p'::regnamespace AND proname ~ '^prints_'`,
  );
  const isFit = (shape: TableShape) => {
    if (!namesColumns(shape, keeps)) return `${fits(shape)}('${shape.oid}')`;
    if (!made.some(({ name }) => name === prints(shape))) return 'false';
    return `${fits(shape)}('${shape.oid}') AND ${prints(shape)}('${shape.oid}')`;
  };
  const { rows } = await db.query<{ fit: boolean[] }>(`SELECT ARRAY[${shapes.map(isFit).join(', ')}] AS fit`);
  return shapes.filter((_, i) => !rows[0]!.fit[i]);
}

/**
 * Takes a table out of capture: triggers, function, metadata. Its rows stay as they are.
 * @throws Error with the remedy where rows of it are parked, which are nowhere else in the database
 */
export async function untrack(db: Queryable, { id, name }: Pick<TableShape, 'id' | 'name'>): Promise<void> {
  await assertNoneParked(db, id, `${name} is no longer to be shared`);
  await forget(db, id);
}

async function forget(db: Queryable, id: number): Promise<void> {
  await db.query(`DROP FUNCTION IF EXISTS ${capture({ id })}() CASCADE`);
  await db.query(`DROP FUNCTION IF EXISTS ${fits({ id })}(regclass)`);
  await dropHas(db, { id });
  await db.query(`DROP FUNCTION IF EXISTS ${prints({ id })}(regclass)`);
  await db.query(`DROP TABLE IF EXISTS p2p.meta_${id}, p2p.history_${id}`);
  await db.query('DELETE FROM p2p.sweep WHERE table_id = $1', [id]);
  await db.query('DELETE FROM p2p.unversioned WHERE table_id = $1', [id]);
  await forgetRows(db, id);
  await db.query(
    `WITH gone AS (DELETE FROM p2p.tracked_table WHERE id = $1 RETURNING name)
     INSERT INTO p2p.formerly_shared SELECT name FROM gone ON CONFLICT DO NOTHING`,
    [id],
  );
}

/** Forgets the tables that were dropped. Returns their names. */
export async function forgetDropped(pool: Pool): Promise<string[]> {
  const dropped = 'FROM p2p.tracked_table AS t WHERE NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = t.relation)';
  const { rows: found } = await pool.query(`SELECT ${dropped}`);
  if (found.length === 0) return [];
  return inTransaction(pool, 'BEGIN', async (client) => {
    await client.query('LOCK TABLE p2p.tracked_table IN SHARE ROW EXCLUSIVE MODE');
    const { rows } = await client.query<{ id: number; name: string }>(`SELECT t.id, t.name ${dropped}`);
    for (const { id } of rows) await forget(client, id);
    return rows.map(({ name }) => name);
  });
}

function capture({ id }: Pick<TableShape, 'id'>): string {
  return `p2p.capture_${id}`;
}

function fits({ id }: Pick<TableShape, 'id'>): string {
  return `p2p.fits_${id}`;
}

function has({ id }: Pick<TableShape, 'id'>): string {
  return `p2p.has_${id}`;
}

/** All functions of that name, whatever key types they were made for; or but those for the present ones. */
async function dropHas(db: Queryable, { id }: Pick<TableShape, 'id'>, kept: string | null = null): Promise<void> {
  const { rows } = await db.query<{ signature: string }>(
    `SELECT p.oid::regprocedure::text AS signature FROM pg_proc AS p
     WHERE p.pronamespace = 'p2p'::regnamespace AND p.proname = $1 AND ($2::text IS NULL OR p.oid <> $2::regprocedure)`,
    [`has_${id}`, kept],
  );
  for (const { signature } of rows) await db.query(`DROP FUNCTION ${signature}`);
}

async function assertNoneParked(db: Queryable, id: number, why: string): Promise<void> {
  const { rows } = await db.query<{ parked: number }>('SELECT count(*) AS parked FROM p2p.parked WHERE table_id = $1', [
    id,
  ]);
  const { parked } = rows[0]!;
  if (parked === 0) return;
  throw new Error(
    `${why}, and ${parked} of its rows are parked: they are nowhere else in this database. Undo it and decide them (GET /p2p/parked), ` +
      `or give them up: DELETE FROM p2p.parked WHERE table_id = ${id};`,
  );
}

/** What is recorded of a table's rows apart from their versions. */
async function forgetRows(db: Queryable, id: number): Promise<void> {
  await db.query('DELETE FROM p2p.conflict WHERE table_id = $1', [id]);
  await db.query('DELETE FROM p2p.parked WHERE table_id = $1', [id]);
}

/** Notes which columns are the primary key. True when they are others than they were: neither of the same names nor the same renamed. */
async function notePrimaryKey(client: PoolClient, { id, oid, key }: TableShape): Promise<boolean> {
  const names = key.map(({ name }) => name);
  const { rows } = await client.query<{ names: string[] | null; same: boolean }>(
    `UPDATE p2p.tracked_table AS t SET key_names = $3, key_numbers = i.indkey::text
     FROM pg_index AS i, p2p.tracked_table AS before
     WHERE t.id = $1 AND before.id = $1 AND i.indrelid = $2 AND i.indisprimary
     RETURNING before.key_names AS names, before.key_numbers = i.indkey::text AS same`,
    [id, oid, names],
  );
  const before = rows[0];
  return before !== undefined && before.names !== null && !before.same && before.names.join('\n') !== names.join('\n');
}

/**
 * Makes the metadata's key columns what the table's key has become: retyped where the values allow it (the versions stay), made
 * anew, without any, where the key is of other columns.
 */
async function followKey(client: PoolClient, shape: TableShape, moved: boolean): Promise<void> {
  const { rows } = await client.query<{ type: string }>(
    `SELECT format_type(atttypid, -1) AS type FROM pg_attribute
     WHERE attrelid = $1::regclass AND attname ~ '^key[0-9]+$' AND NOT attisdropped ORDER BY attnum`,
    [shape.meta],
  );
  const same = rows.length === shape.key.length && shape.key.every((column, i) => column.base === rows[i]!.type);
  if (same && !moved) return;
  const kept = `SELECT to_regclass('${shape.history}') IS NOT NULL AS found`;
  const history = (await client.query<{ found: boolean }>(kept)).rows[0]!.found;
  if (moved || rows.length !== shape.key.length) {
    await assertNoneParked(client, shape.id, `The primary key of ${shape.name} is of other columns now`);
    await client.query(`DROP TABLE ${shape.meta}`);
    await client.query('UPDATE p2p.tracked_table SET tracked_at = clock_timestamp() WHERE id = $1', [shape.id]);
    await forgetRows(client, shape.id);
    await client.query(trackStatement(shape));
    if (history) await client.query(`DROP TABLE ${shape.history}`);
    return;
  }
  const retyped = shape.key.flatMap((column, i) =>
    column.base === rows[i]!.type
      ? []
      : [`ALTER COLUMN key${i + 1} TYPE ${column.definition} USING key${i + 1}::text::${column.base}`],
  );
  for (const table of [shape.meta, ...(history ? [shape.history] : [])]) {
    await client.query(`ALTER TABLE ${table} ${retyped.join(', ')}`);
  }
}

/**
 * Makes the table that keeps the history, where one is to be kept. One that is no longer wanted is left to dropHistory: a write that
 * is under way may still be about to use it.
 */
async function followHistory(client: PoolClient, shape: TableShape, before: number): Promise<void> {
  if (shape.maxVersions > 0 && before === 0) await client.query(`DROP TABLE IF EXISTS ${shape.history}`);
  const { rows } = await client.query<{ found: boolean }>(
    `UPDATE p2p.tracked_table SET max_versions = $2, seeded = seeded AND to_regclass($3) IS NOT NULL
     WHERE id = $1 RETURNING to_regclass($3) IS NOT NULL AS found`,
    [shape.id, shape.maxVersions, shape.history],
  );
  if (shape.maxVersions === 0) return;
  if (!rows[0]!.found) await client.query(historyTableStatement(shape));
}

/** Whether a table's capture function names columns other than the key's: of images, or of what a write left as it was. */
function namesColumns(shape: TableShape, keeps: KeepsOf): boolean {
  return shape.maxVersions > 0 || keeps(shape).fields;
}

/** Makes the function that tells whether the columns are still those that the capture function names. */
async function followColumns(client: PoolClient, shape: TableShape): Promise<void> {
  const { rows: columns } = await client.query<{ ident: string }>(
    `SELECT quote_ident(attname) AS ident FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
    [shape.oid],
  );
  await client.query(
    printsStatement(
      shape,
      columns.map(({ ident }) => ident),
    ),
  );
}

function trackStatement(shape: TableShape): string {
  return fillTemplate('track.sql', {
    name: shape.name,
    meta: shape.meta,
    keys: metaKeys(shape),
    keyDefinitions: shape.key.map((column, i) => `key${i + 1} ${column.definition}`).join(', '),
  });
}

function captureStatement(shape: TableShape, { origin, priority }: NodeIdentity, { fields }: Keeps): string {
  const sameTypes = shape.key.map((column) => `p2p.alike(d.${column.ident}, NULL::${column.type})`).join(' AND ');
  const fitsStatement = fillTemplate('fits.sql', {
    name: shape.name,
    relation: shape.name,
    relationName: escapeLiteral(shape.name),
    fits: fits(shape),
    dataKeys: dataKeys(shape, 'd'),
    sameTypes,
  });
  const hasStatement = fillTemplate('has.sql', {
    name: shape.name,
    relation: shape.name,
    has: has(shape),
    keyTypes: shape.key.map((column) => column.type).join(', '),
    // Arguments bear the collation of the whole call, which may be that of another one.
    dataIsArgument: keysEqual(shape, inData('d'), ({ definition }, i) => `$${i + 1}::${definition}`),
  });
  const keys = rekeyed(shape, inMeta('excluded'));
  const places = {
    id: String(shape.id),
    name: shape.name,
    relation: shape.name,
    meta: shape.meta,
    capture: capture(shape),
    fits: fits(shape),
    has: has(shape),
    oid: String(shape.oid),
    keys: metaKeys(shape),
    firstKey: shape.key[0]!.ident,
    keyOfNew: dataKeys(shape, 'n'),
    keyOfOld: dataKeys(shape, 'o'),
    keyOfEither: shape.key.map((c) => `coalesce(n.${c.ident}, o.${c.ident})`).join(', '),
    newIsOld: keysEqual(shape, inData('n'), inData('o')),
    keyOfMeta: metaKeys(shape, 'm'),
    dataIsMeta: keysEqual(shape, inData('d'), inMeta('m')),
    origin: escapeLiteral(origin),
    priority: String(priority),
    supersession: supersession({ rekeyed: keys }),
    keyless: supersession(),
  };
  const update = fillTemplate('capture-update.sql', {
    ...places,
    supersessionByUpdate: supersession({ fields: keptAge(shape), rekeyed: keys }),
    fieldsColumn: '',
    keptFields: '',
  });
  const updateWithFields = () =>
    fillTemplate('capture-update.sql', {
      ...places,
      supersessionByUpdate: supersession({ fields: fieldsOfUpdate, rekeyed: keys }),
      fieldsColumn: ', fields',
      keptFields: `, ${keptFields(shape)}`,
    });
  const updateByFields = () =>
    fillTemplate('capture-fields.sql', {
      ...places,
      prints: prints(shape),
      update,
      updateWithFields: updateWithFields(),
    });
  const history = shape.maxVersions > 0 ? captureHistory(shape) : noHistory;
  const captureStatement = fillTemplate('capture.sql', {
    ...places,
    settings: history.settings,
    versions:
      fillTemplate('capture-versions.sql', { ...places, update: fields ? updateByFields() : update }) + history.block,
    aside: fillTemplate('capture-aside.sql', places),
  });
  return [fitsStatement, hasStatement, captureStatement].join('\n');
}

export type KeepsOf = (shape: TableShape) => Keeps;

const fieldsOfUpdate = `CASE WHEN NOT m.deleted THEN p2p.fields_of_write(m.fields, m.stamp, m.origin, excluded.fields) END`;

/**
 * What an update left as it was, for p2p.fields_of_write: read from what is put forward for the row, and never stored, since it is left out where
 * there is no version yet.
 */
function keptFields(shape: TableShape): string {
  const entries = shape.columns.map(({ name, ident, base }) => {
    const changed = base === 'jsonb' ? ` ELSE p2p.kept_keys(o.${ident}::jsonb, n.${ident}::jsonb)` : '';
    return `${escapeLiteral(name)}, CASE WHEN ROW(o.${ident})::record *= ROW(n.${ident})::record THEN 'true'::jsonb${changed} END`;
  });
  // A function takes 100 arguments.
  const objects: string[] = [];
  for (let i = 0; i < entries.length; i += 50) {
    objects.push(`jsonb_strip_nulls(jsonb_build_object(${entries.slice(i, i + 50).join(', ')}))`);
  }
  const versioned = `EXISTS (SELECT FROM ${shape.meta} AS v WHERE ${keysEqual(shape, inMeta('v'), inData('n'))})`;
  return `CASE WHEN o.${shape.key[0]!.ident} IS NOT NULL AND ${versioned} THEN ${objects.join(' || ')} END`;
}

const triggers: readonly { name: string; when: string }[] = [
  { name: 'p2p_insert', when: 'INSERT', tables: 'NEW TABLE AS new_rows' },
  { name: 'p2p_update', when: 'UPDATE', tables: 'OLD TABLE AS old_rows NEW TABLE AS new_rows' },
  { name: 'p2p_delete', when: 'DELETE', tables: 'OLD TABLE AS old_rows' },
  { name: 'p2p_truncate', when: 'TRUNCATE', tables: null },
].map(({ name, when, tables }) => ({ name, when: `${when} ON %s${tables ? ` REFERENCING ${tables}` : ''}` }));

/** Adds what is missing of the four triggers on the table and on each of its partitions (trap 22). Returns how many. */
async function addTriggers(client: PoolClient, shape: TableShape): Promise<number> {
  const { rows } = await client.query<{ member: string; name: string }>(
    `SELECT format('%I.%I', n.nspname, c.relname) AS member, wanted.name
     FROM (SELECT $1::oid::regclass AS relid UNION SELECT relid FROM pg_partition_tree($1::oid::regclass)) AS p
       JOIN pg_class AS c ON c.oid = p.relid JOIN pg_namespace AS n ON n.oid = c.relnamespace,
       unnest($2::text[]) AS wanted (name)
     WHERE NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND t.tgname = wanted.name AND t.tgenabled = 'A')
     ORDER BY 1, 2`,
    [shape.oid, triggers.map((trigger) => trigger.name)],
  );
  for (const { member, name } of rows) {
    const { when } = triggers.find((trigger) => trigger.name === name)!;
    await client.query(`DROP TRIGGER IF EXISTS ${name} ON ${member}`);
    await client.query(
      `CREATE TRIGGER ${name} AFTER ${when.replace('%s', member)} FOR EACH STATEMENT EXECUTE FUNCTION ${capture(shape)}()`,
    );
    // Replica-role writes and logical apply are writes too (trap 30).
    await client.query(`ALTER TABLE ONLY ${member} ENABLE ALWAYS TRIGGER ${name}`);
  }
  return rows.length;
}

/** Completes the triggers of a table, for instance on partitions that are new. True when some were missing. */
export async function completeTriggers(pool: Pool, shape: TableShape): Promise<boolean> {
  return (await inTransaction(pool, 'BEGIN', (client) => addTriggers(client, shape))) > 0;
}
