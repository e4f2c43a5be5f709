import { formatRules } from '@pgmesh/core';
import type { PoolClient } from 'pg';
import { recordConflicts } from '../conflicts/record';
import type { Connections } from '../connections';
import { tellLetGo } from '../forgetting/let-go';
import { settles } from '../forgetting/passed';
import { inData, inMeta, keysAfter, keysEqual, metaKeys, textKey } from '../keys';
import { made } from '../made-sql';
import type { TableShape } from '../table-shape';
import { concurrentBatch, imageOf } from './merge-sql';
import { inApply } from './in-apply';
import type { Judge } from './judge';
import { type KeptRow, stateOf } from './kept-row';
import { settle } from './standing';
import { Settlement } from '../parking/settlement';
import { assertConstraints } from '../parking/watch';
import type { Shapes } from '../shapes';

interface OpenRow extends KeptRow {
  key: string[];
}

/**
 * Shows the rows in conflict by these rules where they stand by others. No version is made: every node that changes its rules
 * comes to the same rows by itself. The rules are noted when all tables are done; a start that was cut off begins again.
 */
export async function followRules(
  { ordinary, bulk }: Pick<Connections, 'ordinary' | 'bulk'>,
  shapes: Shapes,
  judge: Judge,
): Promise<void> {
  // By which rules rows stand is not known until all do: these may be given up for the former ones before that.
  await ordinary.query(`UPDATE p2p.node SET rules = ''`);
  for (const shape of shapes.all) {
    if (!settles(judge.rules, shape)) await tellLetGo(ordinary, shape);
    for (let after: readonly string[] | null = []; after !== null;) {
      const from: readonly string[] = after;
      after = await inApply(
        () => bulk.connect(),
        (client) => showBatch(client, shapes, shape, judge, from),
      );
    }
  }
  await ordinary.query('UPDATE p2p.node SET rules = $1', [formatRules(judge.rules)]);
}

/** Returns the key to go on after; null when there is no further row. */
async function showBatch(
  client: PoolClient,
  shapes: Shapes,
  shape: TableShape,
  judge: Judge,
  after: readonly string[],
): Promise<readonly string[] | null> {
  const settlement = await Settlement.open(client, shapes, [shape.id]);
  await settlement.takeAll();
  const { meta } = shape;
  const key = textKey(shape, 'm');
  const isAfter = (from: number) => keysAfter(shape, inMeta('m'), (column, i) => `$${from + i}::text::${column.type}`);
  const isLeft = `m.siblings IS NOT NULL${after.length > 0 ? ` AND ${isAfter(1)}` : ''}`;
  const { rows: ends } = await client.query<{ key: string[] }>(
    `SELECT ${key} AS key FROM ${meta} AS m WHERE ${isLeft} ORDER BY ${metaKeys(shape, 'm')} OFFSET ${concurrentBatch - 1} LIMIT 1`,
    [...after],
  );
  const end = ends[0]?.key ?? [];
  const isInBatch = end.length > 0 ? `${isLeft} AND NOT ${isAfter(after.length + 1)}` : isLeft;
  const batch = `(SELECT ${metaKeys(shape, 'm')} FROM ${meta} AS m WHERE ${isInBatch}) AS b`;
  const bounds = [...after, ...end];
  const lifted = await settlement.liftRows(shape, batch, keysEqual(shape, inData('d'), inMeta('b')), bounds);
  const columns = shape.columns.map((column) => ({ ...column, at: column.ident }));
  // Merges go on meanwhile: a row that has come into conflict since the others were lifted stands by the rules already, and is not locked here.
  const isLifted = `(m.deleted OR d.${shape.key[0]!.ident} IS DISTINCT FROM NULL)`;
  const { rows } = await client.query<OpenRow>(
    `SELECT ${key} AS key, m.stamp, m.origin, m.priority, m.past, m.fields,
       m.siblings, m.deleted, ${made('m')} AS made, ${imageOf(columns, 'd')} AS image
     FROM ${meta} AS m LEFT JOIN ${lifted.relation} AS d ON ${keysEqual(shape, inData('d'), inMeta('m'))}
     WHERE ${isInBatch} AND ${isLifted} ORDER BY ${metaKeys(shape, 'm')} FOR UPDATE OF m`,
    bounds,
  );
  const judged = rows.map((row) => {
    const state = stateOf(row);
    return { key: row.key, state, before: row, asSent: false, ...judge.judge(shape, state, row.key) };
  });
  const settled = await settle(client, lifted, judged, null);
  await recordConflicts(
    client,
    shape,
    settled.rows.map((row) => ({ ...row, before: row.state })),
  );
  await settlement.conclude();
  for (const statement of assertConstraints(shapes, settlement.tables)) await client.query(statement);
  return end.length > 0 ? end : null;
}
