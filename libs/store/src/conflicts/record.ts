import type { OpenReason, RowState, RowVersion, RuleEntry, Visible } from '@pgmesh/core';
import type { PoolClient } from 'pg';
import type { VersionName } from '../decide';
import { prepared } from '../prepared';
import type { TableShape } from '../table-shape';

/** A row with several versions, before or after: its set, and what was made of that by which rule. */
export interface JudgedRow {
  /** PostgreSQL's text. */
  readonly key: readonly string[];
  /** The set as it was here before; empty for a row that was not known. */
  readonly before: RowState;
  readonly state: RowState;
  readonly visible: Visible;
  readonly rule: RuleEntry;
}

/** The version under whose name a row stands, and whether the row is not its own but composed of several. */
export interface Winner extends VersionName {
  readonly composed: boolean;
}

/** A version as it lies in a record. */
export type RecordedVersion = Pick<RowVersion, 'stamp' | 'origin' | 'priority' | 'past' | 'deleted' | 'image'> & {
  readonly fields: RowVersion['fields'] | null;
};

/** What a record holds as it is written; the columns of p2p.conflict. */
export interface ConflictFacts {
  readonly key: readonly string[];
  readonly strategy: string;
  readonly resolver: string | null;
  readonly prefix: string | null;
  readonly decided_by: string;
  readonly open: OpenReason | null;
  readonly winner: Winner;
}

/** A conflict that was recorded, with the id of its record. */
export interface RecordedConflict extends ConflictFacts {
  readonly id: number;
}

/**
 * Notes the conflicts of rows that were judged, in the transaction that writes them: a record is made, or completed with the
 * versions that are new in the set, or ended by the version that covers all. Returns those that stand, in the order given.
 */
export async function recordConflicts(
  client: PoolClient,
  shape: TableShape,
  rows: readonly JudgedRow[],
): Promise<RecordedConflict[]> {
  // What a local write had ended, and nobody has looked at since, is over before the next begins.
  const over = rows.flatMap(({ key, before, state }) => {
    const ends =
      before.length === 1 && state.length > 1 ? before[0] : before.length > 1 && state.length === 1 && state[0];
    return ends ? [[JSON.stringify(key), nameOf(ends)]] : [];
  });
  if (over.length > 0) {
    await client.query(prepared(endRecords, [shape.id, JSON.stringify(Object.fromEntries(over))]));
  }
  const concurrent = rows.filter(({ state }) => state.length > 1);
  if (concurrent.length === 0) return [];
  const facts = concurrent.map(factsOf);
  const records = facts.map((fact, i) => ({ ...fact, n: i, versions: concurrent[i]!.state.map(recordedVersion) }));
  const { rows: made } = await client.query<{ id: number; key: string[] }>(
    prepared(putRecords, [shape.id, JSON.stringify(records)]),
  );
  const ids = new Map(made.map(({ id, key }) => [JSON.stringify(key), id]));
  return facts.map((fact) => ({ id: ids.get(JSON.stringify(fact.key))!, ...fact }));
}

function factsOf({ key, rule, visible }: JudgedRow): ConflictFacts {
  const { main, decidedBy, open, composed } = visible;
  const { strategy, resolver, prefix } = rule;
  return { key, strategy, resolver, prefix, decided_by: decidedBy, open, winner: { ...nameOf(main), composed } };
}

function nameOf({ stamp, origin }: RowVersion): VersionName {
  return { stamp, origin };
}

function recordedVersion({ stamp, origin, priority, past, deleted, image, fields }: RowVersion): RecordedVersion {
  return { stamp, origin, priority, past, deleted, image, fields: fields ?? null };
}

const keyOf = (key: string): string => `ARRAY(SELECT jsonb_array_elements_text(${key}))`;

/**
 * What ended them, by their keys as JSON. Each is looked up by its index: a join would be planned for the few records that there
 * were, and digest every key for every other.
 */
const endRecords = `UPDATE p2p.conflict AS c
  SET ended_at = clock_timestamp(), updated_at = clock_timestamp(), ended_by = $2::jsonb -> to_json(c.key)::text
  WHERE c.ctid = ANY (ARRAY(
    SELECT o.place FROM jsonb_object_keys($2::jsonb) AS k (key), LATERAL (
      SELECT o.ctid AS place FROM p2p.conflict AS o
      WHERE o.table_id = $1::int4 AND p2p.key_digest(o.key) = p2p.key_digest(${keyOf('k.key::jsonb')}) AND o.ended_at IS NULL
      FOR UPDATE
    ) AS o
  ))`;

/** Versions that a record keeps besides those of the present set, the newest: two nodes that hear each other one way only, and a busy row. */
export const keptVersions = 100;
/** Bytes of them, about, for the same reason: a record is written anew with each, and is one value to PostgreSQL. */
const keptBytes = 8 * 1024 * 1024;
const isKept = `k.place <= ${keptVersions} AND k.bytes <= ${keptBytes}`;

/** Whatever was part of the set stays in the record, though a later version of the same writer has replaced it. */
const putRecords = `INSERT INTO p2p.conflict AS c (table_id, key, strategy, resolver, prefix, decided_by, open, winner, versions)
  SELECT $1::int4, ${keyOf('r.key')}, r.strategy, r.resolver, r.prefix, r.decided_by, nullif(r.open, 'null'), r.winner, r.versions
  FROM jsonb_to_recordset($2::jsonb) AS r (n int4, key jsonb, strategy text, resolver text, prefix text, decided_by text, open jsonb,
    winner jsonb, versions jsonb) ORDER BY r.n
  ON CONFLICT (table_id, p2p.key_digest(key)) WHERE ended_at IS NULL DO UPDATE
  SET updated_at = clock_timestamp(), strategy = excluded.strategy, resolver = excluded.resolver, prefix = excluded.prefix,
    decided_by = excluded.decided_by, open = excluded.open, winner = excluded.winner,
    (versions, left_out) = (
      SELECT excluded.versions || coalesce(jsonb_agg(k.version) FILTER (WHERE ${isKept}), '[]'),
        c.left_out + count(*) FILTER (WHERE NOT (${isKept}))
      FROM (
        SELECT v AS version, row_number() OVER newest AS place, sum(pg_column_size(v)) OVER newest AS bytes
        FROM jsonb_array_elements(c.versions) AS v
        WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(excluded.versions) AS w
          WHERE w -> 'stamp' = v -> 'stamp' AND w -> 'origin' = v -> 'origin')
        WINDOW newest AS (ORDER BY (v ->> 'stamp')::int8 DESC ROWS UNBOUNDED PRECEDING)
      ) AS k)
  RETURNING c.id, c.key`;
