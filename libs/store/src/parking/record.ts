import type { PoolClient } from 'pg';
import { imageOf } from '../apply/merge-sql';
import { keepMade } from '../made-sql';
import type { TableShape } from '../table-shape';
import { type Reference, unquoted } from './constraints';
import { isParked, isSameRow, isSameVersion, type Lift, withMeta } from './lift';
import type { Out, Reason } from './settlement';

/** A row that was parked, or that is back. */
export interface ParkedNote {
  /** Of its record on this node. */
  readonly id: number;
  /** `schema.table` */
  readonly table: string;
  /** Column → PostgreSQL's text. */
  readonly key: Readonly<Record<string, string>>;
  readonly reason: Reason['reason'];
  readonly constraint: string | null;
  /** A sentence. */
  readonly message: string;
}

/** What a settlement has changed: rows that stood or were not known and are parked, parked ones that stand, and parked ones that are no more. */
export interface Changed {
  readonly parked: readonly ParkedNote[];
  readonly returned: readonly ParkedNote[];
  readonly discarded: readonly ParkedNote[];
}

export const noChange: Changed = { parked: [], returned: [], discarded: [] };

/**
 * Parks the lifted rows at these places, whose versions go into their metadata whole, and strikes out the records of rows that stand or
 * are no more. A row that comes or goes is news for whoever reads the feed; its version was made where it was.
 * @param considered the records of rows that were parked before, and of those that local writes have ended since
 */
export async function keepParked(
  client: PoolClient,
  lift: Lift,
  out: Out,
  considered: readonly number[],
): Promise<Changed> {
  const { table } = lift;
  const parked = [...lift.unread, ...(out.size > 0 ? await park(client, lift, out, considered) : [])];
  if (considered.length === 0) return { ...noChange, parked };
  await client.query(
    `UPDATE ${table.meta} AS m SET xid = pg_current_xact_id(), ${keepMade('m')}
     FROM p2p.parked AS p WHERE p.id = ANY ($1::int8[]) AND ${isSameVersion(table)} AND NOT m.deleted`,
    [considered],
  );
  const { rows: ended } = await client.query<RecordRow & { stands: boolean }>(
    `DELETE FROM p2p.parked AS p WHERE p.id = ANY ($1::int8[]) AND NOT EXISTS (SELECT FROM ${table.meta} AS m WHERE ${isParked(table)})
     RETURNING ${recordColumns}, EXISTS (SELECT FROM ${table.meta} AS m WHERE ${isSameRow(table)} AND NOT m.deleted) AS stands`,
    [considered],
  );
  const notesOf = (stands: boolean) => ended.filter((row) => row.stands === stands).map((row) => noteOf(table, row));
  return { parked, returned: notesOf(true), discarded: notesOf(false) };
}

export interface RecordRow extends Pick<Reason, 'reason' | 'constraint' | 'message'> {
  readonly id: number;
  readonly key: readonly string[];
}

export const recordColumns = 'p.id, p.key, p.reason, p."constraint", p.message';

export function noteOf(table: TableShape, { id, key, reason, constraint, message }: RecordRow): ParkedNote {
  const named = Object.fromEntries(table.key.map(({ name }, i) => [name, key[i]!]));
  return { id, table: table.name, key: named, reason, constraint, message };
}

/** Puts the records of the rows `out` in. */
export function putRecords({ id }: TableShape): string {
  return `INSERT INTO p2p.parked AS p (table_id, key, stamp, origin, composed, image, reason, "constraint", message, waits_for)
    SELECT ${id}, o.key, o.stamp, o.origin, o.composed, o.image, o.reason, o."constraint", o.message, o.waits_for FROM out AS o
    ON CONFLICT (table_id, p2p.key_digest(key)) DO UPDATE SET stamp = excluded.stamp, origin = excluded.origin, composed = excluded.composed,
      image = excluded.image, reason = excluded.reason, "constraint" = excluded."constraint", message = excluded.message,
      waits_for = excluded.waits_for, parked_at = CASE WHEN (p.stamp, p.origin) = (excluded.stamp, excluded.origin) THEN p.parked_at ELSE clock_timestamp() END
    RETURNING ${recordColumns}`;
}

/** Returns those that were not parked before, in this version. */
async function park(client: PoolClient, lift: Lift, out: Out, considered: readonly number[]): Promise<ParkedNote[]> {
  const { table } = lift;
  const columns = table.columns.map((column) => ({ ...column, at: column.ident }));
  const records = [...out].map(([place, reason]) => ({ place, ...reason }));
  const wasParked = `EXISTS (SELECT FROM p2p.parked AS p WHERE p.id = ANY ($2::int8[]) AND ${isSameVersion(table)})`;
  const { rows } = await client.query<RecordRow & { was: boolean }>(
    `WITH out AS MATERIALIZED (
       SELECT ARRAY[${table.key.map(({ ident }) => `l.${ident}::text`).join(', ')}] AS key, ${imageOf(columns, 'l')} AS image,
         m.ctid AS place, m.stamp, m.origin, ${isComposedSql} AS composed, ${wasParked} AS was,
         r.reason, r."constraint", r.message, nullif(r.waits_for, 'null') AS waits_for
       FROM ${withMeta(lift)} JOIN jsonb_to_recordset($1::jsonb) AS r (place text, reason text, "constraint" text, message text, waits_for jsonb)
         ON r.place::tid = l.ctid
     ), kept AS (
       UPDATE ${table.meta} AS m SET deleted = true, xid = CASE WHEN o.was THEN m.xid ELSE pg_current_xact_id() END,
         ${keepMade('m')},
         siblings = CASE WHEN o.composed THEN m.siblings ELSE p2p.beside(m.siblings, jsonb_build_object('stamp', m.stamp, 'origin', m.origin,
           'priority', m.priority, 'past', m.past, 'deleted', false, 'image', o.image)
           || CASE WHEN m.fields IS NOT NULL THEN jsonb_build_object('fields', m.fields) ELSE '{}' END) END
       FROM out AS o WHERE m.ctid = o.place
     ), put AS (${putRecords(table)})
     SELECT ${recordColumns}, o.was FROM put AS p JOIN out AS o ON o.key = p.key ORDER BY p.id`,
    [JSON.stringify(records), considered],
  );
  return rows.filter(({ was }) => !was).map((row) => noteOf(table, row));
}

/** Whether the metadata row `m` stands for a row that is made of several versions: its own then lies among them (see isComposed). */
const isComposedSql = `EXISTS (SELECT FROM jsonb_array_elements(m.siblings) AS s (version)
  WHERE (s.version ->> 'stamp')::int8 = m.stamp AND s.version ->> 'origin' = m.origin)`;

/** The reasons of lifted rows whose reference is not met. */
export async function readReferred(
  client: PoolClient,
  { rows: lifted }: Lift,
  { name, parent, columns, full }: Reference,
  places: readonly string[],
): Promise<Out> {
  const { rows } = await client.query<{ place: string; referred: (string | null)[] }>(
    `SELECT l.ctid::text AS place, ARRAY[${columns.map(({ child }) => `l.${child}::text`).join(', ')}] AS referred
     FROM ${lifted} AS l WHERE l.ctid = ANY ($1::tid[])`,
    [places],
  );
  return new Map(
    rows.map(({ place, referred }) => {
      const key = Object.fromEntries(columns.map((column, i) => [unquoted(column.parent), referred[i]!]));
      const partly = full && referred.includes(null);
      const message = partly
        ? `By ${name}, either all or none of its columns may be NULL.`
        : `By ${name}, it refers to ${JSON.stringify(key)} of ${parent.relation}, which does not stand.`;
      return [
        place,
        { reason: 'reference', constraint: name, message, waits_for: partly ? null : { table: parent.relation, key } },
      ];
    }),
  );
}
