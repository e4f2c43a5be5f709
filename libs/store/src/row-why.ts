import { type FieldStamp, type RowImage, type RowState, stampToIso, whyOf } from '@pgmesh/core';
import { Problem } from '@pgmesh/wire';
import type { Pool } from 'pg';
import type { Judge, Judgement } from './apply/judge';
import { isComposed, type KeptRow, standsAs, stateOf } from './apply/kept-row';
import { imageOf } from './apply/merge-sql';
import { type ConflictRow, type NamedVersion, type VersionView, versionView } from './conflicts/view';
import { inData, inMeta, keysEqual } from './keys';
import { isParked } from './parking/lift';
import type { ParkedNote } from './parking/record';
import type { Reason } from './parking/settlement';
import { assertShapes, type TableShape } from './table-shape';
import { typed } from './typed-text';

/** The write that something stems from. */
export interface WriteView extends NamedVersion {
  /** The stamp as a time, in ISO 8601. */
  readonly at: string;
}

/** Why a row is as it is, as JSON: snake_case, times in ISO 8601. */
export interface WhyView {
  /** `schema.table` */
  readonly table: string;
  /** Column → PostgreSQL's text. */
  readonly key: Readonly<Record<string, string>>;
  readonly deleted: boolean;
  /** Set when the row is there and does not stand in its table: the record (`GET /p2p/parked/{id}`), why, and what it waits for. */
  readonly parked: (Pick<ParkedNote, 'id'> & Reason) | null;
  /** The version under which the row stands; of a composed row the highest of those that it is made of. */
  readonly version: Omit<VersionView, 'row' | 'deleted'>;
  /** The peer that brought it as it is; null when it was written or merged here. */
  readonly via: string | null;
  readonly composed: boolean;
  readonly rule: { readonly strategy: string; readonly resolver: string | null; readonly prefix: string | null };
  /** The strategy by which the row stands; `last-write-wins` while somebody has to decide. */
  readonly decided_by: string;
  readonly open: boolean;
  readonly reason: string;
  /** By column: the write whose value it shows, null for a value that a resolver has made; `keys`: those of a document that stem from others. */
  readonly columns: Readonly<Record<string, { write: WriteView | null; keys?: Readonly<Record<string, WriteView>> }>>;
  /** What it stands against: concurrent versions that do not stand, or not alone, the highest first. */
  readonly against: readonly VersionView[];
  /** What the present version has ended by covering it, as the records of conflicts have it: the latest. */
  readonly covered: readonly VersionView[];
  /** Records of the row's conflicts (`GET /p2p/conflicts/{id}`), the newest first. */
  readonly conflicts: readonly number[];
}

interface WhyRow extends KeptRow {
  readonly via: string | null;
  readonly parked: (NonNullable<WhyView['parked']> & { readonly image: RowImage; readonly composed: boolean }) | null;
}

/** Records that are looked at. */
const recordsMost = 20;

/**
 * Explains a row: which node wrote what of it and when, by which rule it stands, and what it stands against.
 * @param key PostgreSQL's text, as rowKey gives it
 * @throws Problem `not_found` when there never was such a row, `unavailable`
 */
export async function whyRow(pool: Pool, judge: Judge, shape: TableShape, key: readonly string[]): Promise<WhyView> {
  await assertShapes(pool, [shape]);
  const columns = shape.columns.map((column) => ({ ...column, at: column.ident }));
  const asked = (column: (typeof shape.key)[number], i: number) => typed(column, `$${i + 1}::text`);
  const { rows } = await pool.query<WhyRow>(
    `SELECT m.stamp, m.origin, m.priority, m.past, m.fields, m.siblings, m.deleted, m.via, ${imageOf(columns, 'd')} AS image,
       (SELECT to_jsonb(p) FROM p2p.parked AS p WHERE ${isParked(shape)}) AS parked
     FROM ${shape.meta} AS m LEFT JOIN ${shape.name} AS d ON ${keysEqual(shape, inData('d'), inMeta('m'))}
     WHERE ${keysEqual(shape, inMeta('m'), asked)}`,
    [...key],
  );
  if (!rows[0])
    throw new Problem('not_found', `${shape.name} has no row with the key ${JSON.stringify(key)}, and never had.`);
  const { parked } = rows[0];
  const row = parked ? asIfItStood(rows[0], parked) : rows[0];
  const { rows: records } = await pool.query<ConflictRow>(
    `SELECT * FROM p2p.conflict
     WHERE table_id = $1 AND p2p.key_digest(key) = p2p.key_digest($2) ORDER BY id DESC LIMIT ${recordsMost}`,
    [shape.id, key],
  );
  const state = stateOf(row);
  const open = records.find(({ ended_at }) => ended_at === null);
  const { rule, visible } = open && state.length > 1 ? asRecorded(row, state, open) : judge.judge(shape, state, key);
  const why = whyOf(state, visible);
  const { row: _row, deleted: _deleted, ...version } = versionView(visible.main);
  // A record that a local write has just ended may not have been told yet.
  const isEnd = ({ ended_at, ended_by: by }: ConflictRow) =>
    ended_at === null ? state.length === 1 : by?.stamp === row.stamp && by.origin === row.origin;
  const covered = records.find(isEnd);
  return {
    table: shape.name,
    key: Object.fromEntries(shape.key.map(({ name }, i) => [name, key[i]!])),
    deleted: row.deleted,
    parked: parked && reasonOf(parked),
    version,
    // A feed's name is its node and the incarnation of its database.
    via: row.via === null ? null : row.via.replace(/~.*$/, ''),
    composed: visible.composed,
    rule: { strategy: rule.strategy, resolver: rule.resolver, prefix: rule.prefix },
    decided_by: visible.decidedBy,
    open: visible.open !== null,
    reason: why.reason,
    columns: Object.fromEntries(
      Object.entries(why.columns).map(([column, { write, keys }]) => {
        const others = Object.entries(keys).map(([name, stamp]) => [name, writeView(stamp)] as const);
        return [
          column,
          { write: write && writeView(write), ...(others.length > 0 && { keys: Object.fromEntries(others) }) },
        ];
      }),
    ),
    against: why.against.map(versionView),
    covered: covered ? covered.versions.map(versionView) : [],
    conflicts: records.map(({ id }) => id),
  };
}

/** The row as its table would have it (see Lift.takeParked). */
function asIfItStood(row: WhyRow, { image, composed }: NonNullable<WhyRow['parked']>): WhyRow {
  const others = row.siblings!.filter(({ stamp, origin }) => stamp !== row.stamp || origin !== row.origin);
  const siblings = composed ? row.siblings : others.length > 0 ? others : null;
  return { ...row, deleted: false, image, siblings };
}

function reasonOf({ id, reason, constraint, message, waits_for }: NonNullable<WhyRow['parked']>): WhyView['parked'] {
  return { id, reason, constraint, message, waits_for };
}

/**
 * As the row was made when its versions came together: a resolver is not asked again for it, and what the table would not take is in
 * the record alone.
 */
function asRecorded(row: KeptRow, state: RowState, record: ConflictRow): Judgement {
  const { strategy, resolver, prefix, decided_by: decidedBy, open } = record;
  const main = state.find((version) => standsAs(row, version))!;
  const image = row.deleted ? null : row.image;
  const visible = { image, main, fields: row.fields ?? null, composed: isComposed(row), decidedBy, open };
  return { rule: { strategy, resolver, prefix }, visible } as Judgement;
}

function writeView([stamp, origin]: FieldStamp): WriteView {
  return { stamp, at: stampToIso(stamp), origin, node_id: origin.replace(/~.*$/, '') };
}
