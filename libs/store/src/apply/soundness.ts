import { excessiveDrift, stampToIso } from '@pgmesh/core';
import { Problem } from '@pgmesh/wire';
import { ownCount } from './own-name';
import type { TableShape } from '../table-shape';
import type { Stage } from './stage';

/** What one look at a staged part tells of its versions. */
export interface Soundness {
  readonly stamp: number | null;
  readonly sibling: number | null;
  readonly now: number;
  readonly rows: number;
  readonly tombstones: number;
  readonly lengths: readonly number[] | null;
  readonly fault: string | null;
  /** Rows with a version that claims to be ours. */
  readonly own: number;
}

/** Bytes of a vector; that of a thousand nodes is half as large. */
const pastBytes = 64 * 1024;
const noName = `'has an origin that is no name of a node'`;
const originPattern = `'^[A-Za-z0-9][A-Za-z0-9._-]{0,62}~[0-9a-z]{12}$'`;

/** The columns by which a staged part `s` is judged (see Soundness), as part of the statement that locks its rows. */
export function soundnessOf({ shape, lengths, source, literals }: Stage, origin: string): string {
  const keys = shape.key.map((_, i) => `s.c${i + 1}`);
  const sibling = siblingFault(shape);
  return `max(s.v1) AS stamp, max(CASE WHEN s.v6 IS NOT NULL THEN p2p.highest_stamp(s.v6) END) AS sibling, p2p.clock() AS now,
      count(*) AS rows, count(*) FILTER (WHERE s.v7) AS tombstones, ${ownCount(origin)} AS own, ${lengths ?? 'NULL'}::int4[] AS lengths,
      coalesce(${literals.length > 0 ? 'NULL' : badOrigin(source)}, min(CASE
        WHEN num_nulls(s.v1, s.v2, s.v3, s.v7, s.v9, ${keys.join(', ')}) > 0 THEN 'lacks its key, its stamp or its origin'
        WHEN s.v9 < 0 OR length(s.v8) > 200 THEN 'cannot have been made where it says'
        WHEN s.v1 < 1 THEN 'has a stamp before 1970'
        ${literals.length > 0 ? `WHEN s.v2 !~ ${originPattern} THEN ${noName}` : ''}
        WHEN s.v4 IS NOT NULL AND ${pastFault('s.v4', 's.v1', 's.v2')} THEN 'has an impossible past'
        WHEN s.v5 IS NOT NULL AND (s.v7 OR ${fieldsFault('s.v5', 's.v1', 's.v2', 's.v4', 's.v6 IS NOT NULL')}) THEN 'has impossible field stamps'
        WHEN jsonb_typeof(s.v6) <> 'array' OR s.v6 = '[]' THEN 'has impossible siblings'
        WHEN s.v6 IS NOT NULL AND EXISTS (SELECT FROM jsonb_array_elements(s.v6) AS e WHERE ${sibling}) THEN 'has impossible siblings'
      END)) AS fault`;
}

/** A large part has few origins: each is judged once. Without OFFSET the pattern would be pushed down to every row. */
function badOrigin(source: string): string {
  return `(SELECT ${noName} FROM (SELECT DISTINCT s.v2 FROM (${source}) AS s OFFSET 0) AS o WHERE o.v2 !~ ${originPattern} LIMIT 1)`;
}

/** Nothing in the past of a version is later than the version, for a write takes a higher stamp than all that it has seen. */
function pastFault(past: string, stamp: string, origin: string): string {
  return `(jsonb_typeof(${past}) <> 'object' OR pg_column_size(${past}) > ${pastBytes} OR ${past} ? ${origin}
          OR jsonb_path_exists(${past}, '$.*.type() ? (@ != "number")')
          OR jsonb_path_exists(${past}, '$.* ? (@ < 1 || @ >= $stamp || @.floor() != @)', jsonb_build_object('stamp', ${stamp})))`;
}

function fieldsFault(fields: string, stamp: string, origin: string, past: string, composed: string): string {
  return `(jsonb_typeof(${fields}) <> 'object' OR NOT p2p.sound_fields(${fields}, ${stamp}, ${origin}, ${past}, ${composed}))`;
}

/** A sibling's image may one day stand in the table: it must be one of this very row. */
function siblingFault({ key }: TableShape): string {
  const sameKey = key.map(
    ({ name, definition, equals }, i) =>
      `(e -> 'image' ->> '${name.replace(/'/g, "''")}')::${definition} OPERATOR(${equals}) s.c${i + 1}`,
  );
  return `(CASE WHEN jsonb_typeof(e) <> 'object' OR jsonb_typeof(e -> 'stamp') <> 'number' OR e ->> 'stamp' !~ '^[1-9][0-9]{0,15}$' THEN false ELSE
          e ->> 'stamp' IS NOT NULL AND jsonb_typeof(e -> 'origin') = 'string' AND e ->> 'origin' ~ ${originPattern}
          AND jsonb_typeof(e -> 'priority') = 'number' AND e ->> 'priority' ~ '^-?[0-9]{1,9}$'
          AND (e -> 'past' = 'null' OR NOT ${pastFault(`(e -> 'past')`, `(e ->> 'stamp')::int8`, `(e ->> 'origin')`)})
          AND (NOT e ? 'fields' OR NOT ${fieldsFault(`(e -> 'fields')`, `(e ->> 'stamp')::int8`, `(e ->> 'origin')`, `nullif(e -> 'past', 'null')`, 'false')})
          AND (e -> 'deleted' = 'true' AND e -> 'image' = 'null' OR e -> 'deleted' = 'false' AND jsonb_typeof(e -> 'image') = 'object'
            AND NOT jsonb_path_exists(e -> 'image', '$.*.type() ? (@ != "string" && @ != "null")') AND ${sameKey.join(' AND ')}) END)
        IS NOT TRUE`;
}

/**
 * Refuses a part whose versions cannot be, or that is not as large as it says. Of a version stamped further ahead than we
 * allow: once in, such a row could be changed by nobody else for that long (trap 6). Local stamps do not move by what is
 * refused, nor by what is accepted: they are per row.
 */
export function assertSound(
  { shape, count, deleted, literals }: Stage,
  { stamp, sibling, now, rows, tombstones, lengths, fault }: Soundness,
  { sender, maxDrift }: { readonly sender: string; readonly maxDrift: number },
): void {
  const where = { table: shape.name };
  if (
    rows !== count ||
    lengths?.some((length) => length !== count) ||
    (literals.length > 0 && tombstones !== deleted)
  ) {
    throw new Problem(
      'bad_request',
      `The window announces ${count} rows of ${shape.name}, ${deleted} of them deleted, and has others. Nothing of it was applied.`,
      where,
    );
  }
  if (fault !== null) {
    throw new Problem(
      'invalid_version',
      `A version of ${shape.name} from ${sender} ${fault}. Nothing of the window was applied.`,
      where,
    );
  }
  const drift = excessiveDrift(Math.max(stamp ?? 0, sibling ?? 0), now, maxDrift);
  if (!drift) return;
  throw new Problem(
    'clock_drift',
    `A version of ${shape.name} from ${sender} is stamped ${stampText(drift.stamp)}, ${(drift.ahead / 1e6).toFixed(1)} s ahead of ` +
      `this node's clock; ${drift.allowed / 1e6} s are allowed. Set the clocks right (NTP), or raise P2P_MAX_DRIFT.`,
    { ...where, ahead_seconds: drift.ahead / 1e6, allowed_seconds: drift.allowed / 1e6 },
  );
}

/** A stamp may lie beyond all dates. */
function stampText(stamp: number): string {
  return stamp < 8.64e18 ? stampToIso(stamp) : String(stamp);
}

/** Refuses a part that has one key twice: which of the two should stand cannot be told. */
export function repeatedKeys({ shape }: Pick<Stage, 'shape'>): Problem {
  return new Problem(
    'invalid_version',
    `The window has two versions of one row of ${shape.name}. Nothing of it was applied.`,
    {
      table: shape.name,
    },
  );
}
