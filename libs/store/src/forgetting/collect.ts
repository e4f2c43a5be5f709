import { formatCursor, raised, type Rules } from '@pgmesh/core';
import type { Pool } from 'pg';
import { inTransaction } from '../database';
import { durably } from '../feed/durable';
import { metaKeys, textKey } from '../keys';
import type { TableShape } from '../table-shape';
import { guardedTables, type GuardRow, toGuards, writeGuards } from './guards';
import { isSettled } from './let-go';
import { raiseStamps } from './past';
import { isIn, type Passed, readPassed, type Self, settles } from './passed';

/** What is kept of a table's deletions and conflicts, and why. */
export interface Tombstones {
  /** `schema.table` */
  readonly table: string;
  /** How many deleted rows are remembered. */
  readonly kept: number;
  /** Rows with versions that have lost to the last write, and go when everybody has heard of them. */
  readonly settled: number;
  /** Who has yet to hear of some of these, or may settle conflicts otherwise: nothing goes before. */
  readonly held_up_by: readonly string[];
  /** Up to where in our feed deletions have been forgotten: `epoch/xmax:xip,…`; null where none has been. */
  readonly horizon: string | null;
}

/** Tombstones that are forgotten in one transaction. */
const batch = 5_000;

/** Where all of a row's state is one deletion. */
const sole = 'm.deleted AND m.siblings IS NULL';

/**
 * Forgets the deletions of a table that all members have come past (docs/members.md): first the horizon moves, then they go, some at a time. Whoever
 * writes a row anew meanwhile keeps its version: it supersedes the tombstone, or comes after it.
 * @returns how many were forgotten
 */
export async function collect(pool: Pool, self: Self, shape: TableShape, passed: Passed): Promise<number> {
  const { snapshot } = passed.of(shape.name);
  let forgotten = 0;
  for (;;) {
    const some = await inTransaction(pool, 'BEGIN', async (client) => {
      await client.query(durably);
      // Merges hold this row while they look at the guards, and so see a tombstone that is there or the guard that it left.
      await client.query('SELECT FROM p2p.position ORDER BY node FOR SHARE');
      const { rows: found } = await client.query<{ place: string; stamp: number }>(
        `SELECT m.ctid::text AS place, m.stamp FROM ${shape.meta} AS m WHERE ${sole} AND ${isIn(snapshot)} LIMIT ${batch} FOR UPDATE SKIP LOCKED`,
      );
      if (found.length === 0) return 0;
      await raiseStamps(client, Math.max(...found.map(({ stamp }) => stamp)));
      const { rows } = await client.query<GuardRow>(guardedTables);
      const guards = toGuards(rows).get(shape.name) ?? [];
      await client.query(writeGuards(shape.id, raised(guards, { node: self.nodeId, epoch: self.epoch }, snapshot)));
      await forgetRecords(
        client,
        shape,
        found.map(({ place }) => place),
      );
      const { rowCount } = await client.query(`DELETE FROM ${shape.meta} AS m WHERE m.ctid = ANY ($1::tid[])`, [
        found.map(({ place }) => place),
      ]);
      return rowCount ?? 0;
    });
    forgotten += some;
    if (some < batch) return forgotten;
  }
}

/** What is recorded of the rows at these places of the metadata: it is kept no longer than their versions. */
async function forgetRecords(client: Pick<Pool, 'query'>, shape: TableShape, places: readonly string[]): Promise<void> {
  await client.query(
    `DELETE FROM p2p.conflict AS c USING ${shape.meta} AS m
     WHERE m.ctid = ANY ($1::tid[]) AND c.table_id = $2 AND c.key = ${textKey(shape, 'm')}`,
    [places, shape.id],
  );
  if (shape.maxVersions === 0) return;
  await client.query(
    `DELETE FROM ${shape.history} AS h USING ${shape.meta} AS m
     WHERE m.ctid = ANY ($1::tid[]) AND (${metaKeys(shape, 'h')}) = (${metaKeys(shape, 'm')})`,
    [places],
  );
}

/** What is kept, table by table. */
export async function tombstones(
  pool: Pool,
  self: Self,
  shapes: readonly TableShape[],
  rules: Rules,
): Promise<Tombstones[]> {
  const { rows } = await pool.query<GuardRow>(guardedTables);
  const guards = toGuards(rows);
  const passed = await readPassed(pool, self);
  return Promise.all(
    shapes.map(async (shape) => {
      const { rows: counted } = await pool.query<{ kept: number; settled: number }>(
        `SELECT (SELECT count(*) FROM ${shape.meta} AS m WHERE ${sole}) AS kept,
           ${settles(rules, shape) ? `(SELECT count(*) FROM ${shape.meta} AS m WHERE ${isSettled})` : '0::int8'} AS settled`,
      );
      const { kept, settled } = counted[0]!;
      const waitedFor = kept + settled > 0 ? passed.of(shape.name).heldUpBy : [];
      const others = settled > 0 ? passed.otherRules(shape.name) : [];
      const heldUpBy = [...new Set([...waitedFor, ...others])].sort();
      const own = guards.get(shape.name)?.find((marks) => marks.length === 1 && marks[0]!.node === self.nodeId)?.[0];
      const horizon = own ? formatCursor(own) : null;
      return { table: shape.name, kept, settled, held_up_by: heldUpBy, horizon };
    }),
  );
}
