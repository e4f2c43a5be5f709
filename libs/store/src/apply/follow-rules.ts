import { formatRules, type Rules, type RowVersion, sameVersion } from '@pgmesh/core';
import type { PoolClient } from 'pg';
import { setTimeout as sleep } from 'node:timers/promises';
import { type JudgedRow, recordConflicts } from '../conflicts/record';
import type { Connections } from '../connections';
import { sqlState } from '../database';
import { inData, inMeta, keysAfter, keysEqual, metaKeys } from '../keys';
import type { TableShape } from '../table-shape';
import { concurrentBatch, imageOf } from './merge-sql';
import { begin } from './merge-transaction';
import { fromStored, judge, type MergedRow, type StoredVersion, writeMerged } from './standing';

interface OpenRow extends StoredVersion {
  key: string[];
  siblings: StoredVersion[];
}

/** Of half a second each. */
const attempts = 120;

/**
 * Shows the rows in conflict by these rules where they stand by others. No version is made: every node that changes its rules
 * comes to the same rows by itself. The rules are noted when all tables are done; a start that was cut off begins again.
 */
export async function followRules(
  { ordinary, bulk }: Pick<Connections, 'ordinary' | 'bulk'>,
  shapes: readonly TableShape[],
  rules: Rules,
): Promise<void> {
  const text = formatRules(rules);
  const { rows } = await ordinary.query<{ rules: string }>('SELECT rules FROM p2p.node');
  if (rows[0]!.rules === text) return;
  for (const shape of shapes) {
    for (let after: readonly string[] | null = []; after !== null;) {
      const from: readonly string[] = after;
      after = await inApply(
        () => bulk.connect(),
        (client) => showBatch(client, shape, rules, from),
      );
    }
  }
  await ordinary.query('UPDATE p2p.node SET rules = $1', [text]);
}

/** Returns the key to go on after; null when there is no further row. */
async function showBatch(
  client: PoolClient,
  shape: TableShape,
  rules: Rules,
  after: readonly string[],
): Promise<readonly string[] | null> {
  const later = keysAfter(shape, inMeta('m'), (column, i) => `$${i + 1}::text::${column.type}`);
  const condition = `m.siblings IS NOT NULL${after.length > 0 ? ` AND ${later}` : ''}`;
  const join = keysEqual(shape, inData('d'), inMeta('m'));
  // Data before metadata, as users' own writes lock.
  await client.query(
    `SELECT FROM ${shape.name} AS d JOIN ${shape.meta} AS m ON ${join} WHERE ${condition}
     ORDER BY ${metaKeys(shape, 'm')} LIMIT ${concurrentBatch} FOR NO KEY UPDATE OF d`,
    [...after],
  );
  const columns = shape.columns.map((column) => ({ ...column, at: column.ident }));
  const { rows } = await client.query<OpenRow>(
    `SELECT ARRAY[${shape.key.map((_, i) => `m.key${i + 1}::text`).join(', ')}] AS key, m.stamp, m.origin, m.priority, m.past,
       m.siblings, m.deleted, ${imageOf(columns, 'd')} AS image
     FROM ${shape.meta} AS m LEFT JOIN ${shape.name} AS d ON ${join} WHERE ${condition}
     ORDER BY ${metaKeys(shape, 'm')} LIMIT ${concurrentBatch} FOR UPDATE OF m`,
    [...after],
  );
  const judged = rows.map((row) => judgedAnew(shape, rules, row));
  const changed = judged.flatMap(({ row, main }) => shownAnew(row, main));
  if (changed.length > 0) await writeMerged(client, shape, changed, null);
  await recordConflicts(
    client,
    shape,
    judged.map(({ row }) => row),
  );
  return rows.length < concurrentBatch ? null : rows.at(-1)!.key;
}

function judgedAnew(shape: TableShape, rules: Rules, row: OpenRow): { row: JudgedRow; main: RowVersion } {
  const main = fromStored({ ...row, image: row.deleted ? null : row.image });
  const state = [main, ...row.siblings.map(fromStored)];
  return { row: { key: row.key, before: state, state, ...judge(shape, rules, state, row.key) }, main };
}

function shownAnew({ key, state, visible: { main: visible } }: JudgedRow, main: RowVersion): MergedRow[] {
  return sameVersion(visible, main) ? [] : [{ key, state, visible, asSent: false, shown: true }];
}

/** One transaction that capture leaves alone; begun again when a user's transaction stands in its way. */
async function inApply<T>(connect: () => Promise<PoolClient>, work: (client: PoolClient) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const client = await connect();
    try {
      for (const statement of begin) await client.query(statement);
      const result = await work(client);
      await client.query('COMMIT');
      return result;
    } catch (error) {
      await client.query('ROLLBACK');
      const state = sqlState(error) ?? '';
      if (attempt === attempts || !['55P03', '40P01', '40001'].includes(state)) throw error;
    } finally {
      client.release();
    }
    await sleep(Math.random() * 100);
  }
}
