import {
  highestStamp,
  mergeStates,
  pastOfWrite,
  presumedDeletion,
  type RowState,
  type RowVersion,
  sameState,
  unforgotten,
} from '@pgmesh/core';
import type { PoolClient } from 'pg';
import type { Judge } from '../apply/judge';
import { type KeptRow, stateOf } from '../apply/kept-row';
import { imageOf } from '../apply/merge-sql';
import type { Stage } from '../apply/stage';
import { settle } from '../apply/standing';
import { recordConflicts } from '../conflicts/record';
import { inData, inMeta, inStage, keysAfter, keysEqual, metaKeys, textKey } from '../keys';
import { made } from '../made-sql';
import type { TableShape } from '../table-shape';
import type { Past } from './past';

/** Rows that are looked at in one go at a copy's end. */
const batch = 1000;

/** A row that we have and that a copy did not bring. */
interface Missing extends KeptRow {
  readonly key: string[];
  readonly xid: string;
}

export interface Removal {
  readonly client: PoolClient;
  /** The table as its rows are to be changed. */
  readonly shape: TableShape;
  readonly judge: Judge;
  readonly past: Past;
  /** Under which we write. */
  readonly origin: string;
  /** Under which nothing is written but deletions that must have been made. */
  readonly presumed: string;
}

/** What a copy of every row of a table has brought so far (docs/members.md): noted in the transactions of its pieces, so that a kill loses nothing. */
export class CopyNotes {
  constructor(
    private readonly client: PoolClient,
    private readonly node: string,
    /** The source's feed. */
    private readonly source: string,
  ) {}

  /** Whatever was noted of an earlier copy is void. */
  async begin(shapes: readonly TableShape[]): Promise<void> {
    await this.forget();
    for (const shape of shapes) {
      await this.client.query(
        `INSERT INTO p2p.copy_notes (node, table_id, matched) SELECT $1, $2, NOT EXISTS (SELECT FROM ${shape.meta})`,
        [this.node, shape.id],
      );
    }
  }

  /** Notes the rows of a part that was merged; into a table that was empty, those that others had brought. */
  async add({ shape, source, literals }: Stage): Promise<void> {
    const [node, from] = [literals.length + 1, literals.length + 2];
    await this.client.query(
      `INSERT INTO p2p.copied_key (node, table_id, key)
       SELECT $${node}::text, ${shape.id}, ${textKey(shape, 'm')}
       FROM (${source}) AS s JOIN ${shape.meta} AS m ON ${keysEqual(shape, inMeta('m'), inStage('s'))}
         JOIN p2p.copy_notes AS n ON n.node = $${node}::text AND n.table_id = ${shape.id}
       WHERE NOT n.matched OR m.via IS DISTINCT FROM $${from}::text OR m.xid <> pg_current_xact_id()`,
      [...literals, this.node, this.source],
    );
  }

  /**
   * Deletes what the source does not have and had come past: an ordinary write, which travels. What we have written since stays, with the
   * deletion that must have been made beside it.
   * @returns how many rows have changed
   */
  async conclude(removal: Removal): Promise<number> {
    const { client, shape } = removal;
    const { rows } = await client.query<{ matched: boolean }>(
      'SELECT matched FROM p2p.copy_notes WHERE node = $1 AND table_id = $2',
      [this.node, shape.id],
    );
    if (!rows[0]) return 0;
    let changed = 0;
    for (let after: readonly string[] | null = []; after !== null;) {
      const missing: Missing[] = await this.missing(removal, rows[0].matched, after);
      changed += await this.remove(removal, missing, rows[0].matched);
      after = missing.length < batch ? null : missing.at(-1)!.key;
    }
    return changed;
  }

  async forget(): Promise<void> {
    await this.client.query('DELETE FROM p2p.copied_key WHERE node = $1', [this.node]);
    await this.client.query('DELETE FROM p2p.copy_notes WHERE node = $1', [this.node]);
  }

  private async missing({ client, shape }: Removal, matched: boolean, after: readonly string[]): Promise<Missing[]> {
    const columns = shape.columns.map((column) => ({ ...column, at: column.ident }));
    const later = keysAfter(shape, inMeta('m'), (column, i) => `$${i + 3}::text::${column.type}`);
    const { rows } = await client.query<Missing>(
      `SELECT ${textKey(shape, 'm')} AS key, m.stamp, m.origin, m.priority, m.past, m.fields, m.siblings, m.deleted, ${made('m')} AS made,
         m.xid::text, ${imageOf(columns, 'd')} AS image
       FROM ${shape.meta} AS m LEFT JOIN ${shape.relation} AS d ON ${keysEqual(shape, inData('d'), inMeta('m'))}
       WHERE NOT (m.deleted AND m.siblings IS NULL) AND ($2::text IS NULL OR m.via IS DISTINCT FROM $2) AND m.xid <> pg_current_xact_id()
         AND NOT EXISTS (SELECT FROM p2p.copied_key AS k WHERE k.node = $1 AND k.table_id = ${shape.id} AND k.key = ${textKey(shape, 'm')})
         ${after.length > 0 ? `AND ${later}` : ''}
       ORDER BY ${metaKeys(shape, 'm')} LIMIT ${batch} FOR UPDATE OF m`,
      [this.node, matched ? this.source : null, ...after],
    );
    return rows;
  }

  private async remove(removal: Removal, missing: readonly Missing[], matched: boolean): Promise<number> {
    const { client, shape, judge } = removal;
    const judged = missing.flatMap((row) => {
      const before = stateOf(row);
      const state = remaining(removal, before, BigInt(row.xid), matched);
      return sameState(state, before)
        ? []
        : [{ key: row.key, before: row, state, asSent: false, ...judge.judge(shape, state, row.key) }];
    });
    if (judged.length === 0) return 0;
    const settled = await settle(client, shape, judged, null);
    await recordConflicts(
      client,
      shape,
      settled.rows.map((row) => ({ ...row, before: stateOf(row.before) })),
    );
    return settled.changed.length;
  }
}

function remaining({ past, origin, presumed }: Removal, before: RowState, xid: bigint, matched: boolean): RowState {
  const rest = unforgotten({ state: before, passed: (version) => past.passedByThem(version, xid) }, []);
  if (rest.length === 0) return [deletionOf(before, origin)];
  const written = rest.length === 1 && rest[0]!.origin === origin && !matched ? rest[0]! : null;
  const deletion = written && past.knewBaseOf(written) ? presumedDeletion(written, presumed) : null;
  return deletion ? mergeStates(rest, [deletion]) : rest;
}

/** A deletion of ours over a state, stamped no later than it must be: who wrote over the row meanwhile is to stand by the last write. */
export function deletionOf(state: RowState, origin: string): RowVersion {
  const stamp = (highestStamp(state) ?? 0) + 1;
  return { stamp, origin, priority: 0, past: pastOfWrite(state, origin), deleted: true, image: null };
}
