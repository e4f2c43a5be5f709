import {
  beginning,
  cutSnapshot,
  formatSnapshot,
  includes,
  parsePgSnapshot,
  parseSnapshot,
  type Snapshot,
} from '@pgmesh/core';
import { Problem } from '@pgmesh/wire';
import type { Pool } from 'pg';
import { inTransaction } from '../database';
import { guardedTables, type GuardRow, toGuards } from '../forgetting/guards';
import { inData, inMeta, keysAfter, keysEqual, metaKeys, textKey } from '../keys';
import type { TableShape } from '../table-shape';
import { flushed, unflushed } from './durable';
import { windowCondition } from './window-query';

export interface ChangesQuery {
  /** A time; changes that were committed here since. */
  readonly since?: Date;
  /** What an earlier answer gave; takes precedence. */
  readonly cursor?: string;
  readonly limit: number;
}

export interface ChangesPage {
  /** The whole answer as JSON, its values written by PostgreSQL. */
  readonly json: string;
  readonly count: number;
  readonly cursor: string;
}

/** Where a person's reading stands: in the window from `from` to `to` (null: not begun), after the row `key` of transaction `xid`. */
interface Place {
  readonly from: Snapshot;
  readonly to: Snapshot | null;
  readonly after: { readonly xid: string; readonly key: readonly string[] } | null;
}

/**
 * A page of one table's changes, for people and programs that are not nodes. The same windows as between nodes, in the order of
 * their transactions, cut anywhere.
 * @throws Problem `bad_cursor`, `other_epoch`, `gone`
 */
export async function readChanges(
  pool: Pool,
  identity: { readonly nodeId: string; readonly epoch: string },
  shape: TableShape,
  query: ChangesQuery,
): Promise<ChangesPage> {
  const asked = query.cursor === undefined ? null : parsePlace(query.cursor, identity.epoch, shape);
  const { unflushed: lsn, ...page } = await inTransaction(
    pool,
    'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY',
    async (client) => {
      const { rows: now } = await client.query<{ snapshot: string; unflushed: string | null }>(
        `SELECT pg_current_snapshot()::text AS snapshot, ${unflushed} AS unflushed`,
      );
      const present = parsePgSnapshot(now[0]!.snapshot);
      const place = asked ?? {
        from: query.since ? await snapshotBefore(client, query.since) : beginning,
        to: null,
        after: null,
      };
      if (place.from.xmax > present.xmax || (place.to && place.to.xmax > present.xmax)) {
        throw new Problem('bad_cursor', 'The cursor lies ahead of this node. Start without one.');
      }
      await assertKept(client, identity, shape, place, asked !== null || query.since !== undefined);
      const to = place.to ?? present;
      const { rows } = await client.query<{ xid: string; key: string[]; change: string }>(
        changesQuery(shape, place, query),
        [
          String(place.from.xmax),
          String(to.xmax),
          place.from.xip.map(String),
          to.xip.map(String),
          query.limit + 1,
          ...(place.after ? [place.after.xid, ...place.after.key] : []),
        ],
      );
      const page = rows.slice(0, query.limit);
      const more = rows.length > query.limit;
      const last = page.at(-1);
      const next: Place = more
        ? { from: place.from, to, after: { xid: last!.xid, key: last!.key } }
        : { from: reached(place, to), to: null, after: null };
      const cursor = formatPlace(next, identity.epoch);
      const head = JSON.stringify({
        table: shape.name.replace(/^public\./, ''),
        node_id: identity.nodeId,
        epoch: identity.epoch,
      });
      const tail = JSON.stringify({ cursor, more });
      const changes = page.map(({ change }) => change).join(',');
      return {
        json: `${head.slice(0, -1)},"changes":[${changes}],${tail.slice(1)}`,
        count: page.length,
        cursor,
        unflushed: now[0]!.unflushed,
      };
    },
  );
  // Outside of the transaction: who holds a connection and waits for another may wait for ever.
  await flushed(pool, pool, lsn);
  return page;
}

/** Who starts without a cursor gets all rows that there are. Of who goes on from a place, what was deleted since would be kept. */
async function assertKept(
  client: { query: Pool['query'] },
  identity: { readonly nodeId: string; readonly epoch: string },
  { name }: TableShape,
  { from, to }: Place,
  goesOn: boolean,
): Promise<void> {
  const { rows } = await client.query<GuardRow>(guardedTables);
  const guards = toGuards(rows).get(name);
  if (!guards || !goesOn) return;
  const at = from.xmax === 0n && to ? to : from;
  const isKept = guards.every((marks) =>
    marks.every(({ node, snapshot }) => node !== identity.nodeId || includes(at, snapshot)),
  );
  if (isKept) return;
  throw new Problem(
    'gone',
    `Deletions in ${name.replace(/^public\./, '')} since then are not kept any more. Start without a cursor and without since=: the answer is all rows ` +
      `that there are; what you have and it does not was deleted.`,
    { tables: [name] },
  );
}

function reached(place: Place, to: Snapshot): Snapshot {
  return cutSnapshot(place.from, to, to.xmax);
}

function changesQuery(shape: TableShape, place: Place, { since }: ChangesQuery): string {
  const versions = windowCondition(shape, 'v.*', {
    from: '$1::xid8',
    below: '$2::xid8',
    xip: '$3::xid8[]',
    except: `'{}'::text[]`,
  });
  const key = shape.key.map((column, i) => `m.key${i + 1} AS ${column.ident}`).join(', ');
  const row = shape.columns.map((column) => `d.${column.ident}`).join(', ');
  const later = place.after
    ? `AND (m.xid > $6::xid8 OR m.xid = $6::xid8 AND ${keysAfter(shape, inMeta('m'), (column, i) => `$${i + 7}::text::${column.type}`)})`
    : '';
  // Of our own writes the stamp is the time of the change; what came from elsewhere counts by when it arrived.
  const recent =
    since && !place.after ? `AND (m.via IS NOT NULL OR m.stamp >= ${Math.floor(since.getTime() * 1000)})` : '';
  return `SELECT m.xid::text AS xid, ${textKey(shape, 'm')} AS key,
      json_build_object('key', (SELECT to_json(k) FROM (SELECT ${key}) AS k),
        'op', CASE WHEN m.deleted THEN 'delete' ELSE 'upsert' END,
        'version', json_build_object('stamp', m.stamp, 'origin', m.origin, 'priority', m.priority,
          'vector', coalesce(m.past, '{}') || jsonb_build_object(m.origin, m.stamp)),
        'row', CASE WHEN NOT m.deleted THEN (SELECT to_json(r) FROM (SELECT ${row}) AS r) END)::text AS change
    FROM ${versions} AS m LEFT JOIN ${shape.name} AS d ON ${keysEqual(shape, inData('d'), inMeta('m'))}
    WHERE m.xid <> ALL ($4::xid8[]) ${later} ${recent} ORDER BY m.xid, ${metaKeys(shape, 'm')} LIMIT $5`;
}

async function snapshotBefore(client: { query: Pool['query'] }, since: Date): Promise<Snapshot> {
  const { rows } = await client.query<{ snapshot: string }>(
    'SELECT snapshot FROM p2p.tick WHERE at <= $1 ORDER BY at DESC LIMIT 1',
    [since],
  );
  return rows[0] ? parseSnapshot(rows[0].snapshot)! : beginning;
}

/** Cursors are opaque to people; they hold nothing secret, and are checked as any input is. */
function formatPlace({ from, to, after }: Place, epoch: string): string {
  const text = JSON.stringify([
    epoch,
    formatSnapshot(from),
    to && formatSnapshot(to),
    after && [after.xid, ...after.key],
  ]);
  return Buffer.from(text).toString('base64url');
}

function parsePlace(text: string, epoch: string, shape: TableShape): Place {
  const bad = () =>
    new Problem('bad_cursor', 'The cursor is not one that this node gave. Start without one, or with since=.');
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    throw bad();
  }
  if (!Array.isArray(value) || value.length !== 4) throw bad();
  const [ofEpoch, fromText, toText, after] = value as unknown[];
  if (typeof ofEpoch !== 'string' || typeof fromText !== 'string') throw bad();
  const from = parseSnapshot(fromText);
  const to = toText === null ? null : typeof toText === 'string' ? parseSnapshot(toText) : undefined;
  if (!from || to === undefined || (toText !== null && !to)) throw bad();
  if (
    after !== null &&
    !(
      Array.isArray(after) &&
      to &&
      after.length === shape.key.length + 1 &&
      after.every((x) => typeof x === 'string') &&
      /^\d{1,19}$/.test(after[0] as string)
    )
  )
    throw bad();
  if (ofEpoch !== epoch) {
    throw new Problem(
      'other_epoch',
      `The cursor belongs to an earlier incarnation of this node's feed. Start without one.`,
      { epoch },
    );
  }
  const [xid, ...key] = (after ?? []) as string[];
  return { from, to, after: after === null ? null : { xid: xid!, key } };
}
