import {
  comeTo,
  everything,
  type Guards,
  type Knowledge,
  knowsMade,
  meets,
  type Position,
  type RowVersion,
} from '@pgmesh/core';
import { escapeLiteral, type PoolClient } from 'pg';

/**
 * How a window stands to what we have come past. `late`: all of it lies within. `compared`: it brings what two nodes hold otherwise that
 * have both heard of all that is forgotten at the other, so that a row which one of them lacks was not deleted there, but lost.
 */
export type Course = 'next' | 'late' | 'compared';

/** What we, and the sender of a window, have come past in a table: what tells a deletion that was forgotten from a row that is new. */
export class Past {
  private readonly ours: Knowledge;
  private readonly followed: Knowledge;

  constructor(
    private readonly self: { readonly nodeId: string; readonly epoch: string },
    positions: ReadonlyMap<string, Position>,
    /** The sender's; its own feed is among them. */
    private readonly theirs: Knowledge,
    private readonly table: string,
    private readonly course: Course = 'next',
  ) {
    const tables = [table];
    const others = [...positions].map(
      ([node, position]) =>
        [node, { cursor: { epoch: position.epoch, snapshot: comeTo(position, table) }, tables }] as const,
    );
    // Of our own feed we have come past all that is here.
    const own = { [self.nodeId]: { cursor: { epoch: self.epoch, snapshot: everything }, tables } };
    this.ours = { ...Object.fromEntries(others), ...own };
    const followed = [...positions].map(
      ([node, position]) => [node, { cursor: position, tables: position.tables }] as const,
    );
    this.followed = { ...Object.fromEntries(followed), ...own };
  }

  /** Whether we follow the table as far as is needed to read it from who has these guards. */
  meets(guards: Guards): boolean {
    return meets(this.followed, guards, this.table);
  }

  private get feed(): string {
    return `${this.self.nodeId}~${this.self.epoch}`;
  }

  /** Whether we have come past a version of theirs. */
  passedByUs(version: RowVersion): boolean {
    if (this.wasLost(version)) return false;
    return this.course === 'late' || (!!version.made && knowsMade(this.ours, version.made, this.table));
  }

  /** Whether they have come past a version of ours, or past the transaction by which our row became what it is. */
  passedByThem(version: RowVersion, xid: bigint): boolean {
    if (this.wasLost(version)) return false;
    const { made } = version;
    const row = { feed: this.feed, xid };
    return knowsMade(this.theirs, row, this.table) || (!!made && knowsMade(this.theirs, made, this.table));
  }

  /** Deletions alone are forgotten. */
  private wasLost({ deleted }: RowVersion): boolean {
    return this.course === 'compared' && !deleted;
  }

  /** Whether they have come as far as we in the feeds of all whose writes a version was made over. */
  knewBaseOf({ past }: RowVersion): boolean {
    return Object.keys(past).every((origin) => {
      const node = origin.slice(0, origin.lastIndexOf('~'));
      const ours = Object.hasOwn(this.ours, node) ? this.ours[node]!.cursor : null;
      const xid = ours ? ours.snapshot.xmax - 1n : 0n;
      return (
        ours !== null && `${node}~${ours.epoch}` === origin && knowsMade(this.theirs, { feed: origin, xid }, this.table)
      );
    });
  }

  /** SQL: whether we have come past all versions of a staged row `s`, sent by `sender`. One that we have not come past may lie among the siblings. */
  passedSql(sender: string): string {
    if (this.course === 'late') return 'true';
    const known = Object.entries(this.ours)
      .filter(([, { cursor }]) => cursor.snapshot.xmax > 0n)
      .map(([node, { cursor }]) => ({
        feed: `${node}~${cursor.epoch}`,
        xmax: String(cursor.snapshot.xmax),
        xip: cursor.snapshot.xip.map(String),
      }));
    const isKnown = (feed: string, xid: string) =>
      `EXISTS (SELECT FROM jsonb_to_recordset(${escapeLiteral(JSON.stringify(known))}) AS k (feed text, xmax int8, xip int8[])
      WHERE k.feed = ${feed} AND ${xid} < k.xmax AND ${xid} <> ALL (k.xip))`;
    const isForgettable = this.course === 'compared' ? 's.v7 AND s.v6 IS NULL AND ' : '';
    return `${isForgettable}${isKnown(`coalesce(s.v8, ${escapeLiteral(sender)})`, 's.v9')}
      AND NOT EXISTS (SELECT FROM jsonb_array_elements(s.v6) AS e WHERE NOT ((e ->> 'stamp')::int8 = s.v1 AND e ->> 'origin' = s.v2)
        AND NOT ${isKnown(`e -> 'made' ->> 0`, `(e -> 'made' ->> 1)::int8`)})`;
  }
}

/** Rows that are written anew under keys of what was forgotten are to be stamped above it. */
export async function raiseStamps(client: Pick<PoolClient, 'query'>, stamp: number): Promise<void> {
  await client.query(
    `SELECT setval('p2p.forgotten', $1::int8) WHERE $1::int8 > coalesce(pg_sequence_last_value('p2p.forgotten'), 0)`,
    [stamp],
  );
}
