import { formatRules } from '@pgmesh/core';
import type { PoolClient } from 'pg';
import { setTimeout as sleep } from 'node:timers/promises';
import { recordConflicts } from '../conflicts/record';
import type { Connections } from '../connections';
import { sqlState } from '../database';
import { inData, inMeta, keysAfter, keysEqual, metaKeys } from '../keys';
import type { TableShape } from '../table-shape';
import { concurrentBatch, imageOf } from './merge-sql';
import { begin } from './merge-transaction';
import type { Judge } from './judge';
import { type KeptRow, stateOf } from './kept-row';
import { settle } from './standing';

interface OpenRow extends KeptRow {
  key: string[];
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
  judge: Judge,
): Promise<void> {
  // By which rules rows stand is not known until all do: these may be given up for the former ones before that.
  await ordinary.query(`UPDATE p2p.node SET rules = ''`);
  for (const shape of shapes) {
    for (let after: readonly string[] | null = []; after !== null;) {
      const from: readonly string[] = after;
      after = await inApply(
        () => bulk.connect(),
        (client) => showBatch(client, shape, judge, from),
      );
    }
  }
  await ordinary.query('UPDATE p2p.node SET rules = $1', [formatRules(judge.rules)]);
}

/** Returns the key to go on after; null when there is no further row. */
async function showBatch(
  client: PoolClient,
  shape: TableShape,
  judge: Judge,
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
    `SELECT ARRAY[${shape.key.map((_, i) => `m.key${i + 1}::text`).join(', ')}] AS key, m.stamp, m.origin, m.priority, m.past, m.fields,
       m.siblings, m.deleted, ${imageOf(columns, 'd')} AS image
     FROM ${shape.meta} AS m LEFT JOIN ${shape.name} AS d ON ${join} WHERE ${condition}
     ORDER BY ${metaKeys(shape, 'm')} LIMIT ${concurrentBatch} FOR UPDATE OF m`,
    [...after],
  );
  const judged = rows.map((row) => {
    const state = stateOf(row);
    return { key: row.key, state, before: row, asSent: false, ...judge.judge(shape, state, row.key) };
  });
  const settled = await settle(client, shape, judged, null);
  await recordConflicts(
    client,
    shape,
    settled.rows.map((row) => ({ ...row, before: row.state })),
  );
  return rows.length < concurrentBatch ? null : rows.at(-1)!.key;
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
