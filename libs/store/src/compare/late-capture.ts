import type { Remedy } from '@pgmesh/core';
import type { Pool } from 'pg';
import { giveWay, inTransaction } from '../database';
import type { NodeIdentity } from '../identity';
import { inData, inMeta, keysEqual, metaKeys } from '../keys';
import { supersede } from '../reconcile';
import type { TableShape } from '../table-shape';
import { inKeyTexts, keyColumns, keysFrom, readHeld } from './held-rows';
import type { Compared } from './row-digest';

/** A row, as it was held when the remedy was found. */
export interface RemediedRow {
  readonly key: readonly string[];
  readonly digest: string;
  readonly remedy: Exclude<Remedy, 'none'>;
}

/** The lowest stamp that a write of the row can have is one above the row's. */
const stamps = { write: 'p2p.stamp()', affirm: '1' } as const;

/**
 * Gives rows versions of their own as they lie in the table: what capture would have done, had it seen the write. Rows that are not as they were
 * are left alone: somebody has written them since.
 *
 * @param meanwhile done when the rows are locked: nobody merges or writes them until they have their versions
 * @returns how many were given one
 */
export function captureLate(
  pool: Pool,
  identity: NodeIdentity,
  shape: TableShape,
  compared: Compared,
  remedies: readonly RemediedRow[],
  meanwhile: () => Promise<void>,
): Promise<number> {
  return inTransaction(pool, 'BEGIN', async (client) => {
    await client.query(giveWay);
    const keysOfAll = remedies.map(({ key }) => key);
    const all = keyColumns(shape, keysOfAll);
    // Rows before versions, in the order of the keys, as all do.
    const lock = (relation: string, side: Parameters<typeof keysEqual>[1], order: string, strength: string) =>
      `SELECT FROM ${keysFrom(shape)} JOIN ${relation} ON ${keysEqual(shape, side, inKeyTexts)} ORDER BY ${order} FOR ${strength}`;
    const data = shape.key.map(({ ident }) => `d.${ident}`).join(', ');
    await client.query(lock(`${shape.name} AS d`, inData('d'), data, 'NO KEY UPDATE OF d'), all);
    await client.query(lock(`${shape.meta} AS m`, inMeta('m'), metaKeys(shape, 'm'), 'UPDATE OF m'), all);
    const held = await readHeld(client, shape, compared, keysOfAll);
    const same = remedies.filter(({ digest }, i) => held[i]!.digest === digest);
    await meanwhile();
    for (const remedy of ['write', 'affirm'] as const) {
      const keys = same.filter((one) => one.remedy === remedy).map(({ key }) => key);
      if (keys.length === 0) continue;
      await client.query(
        `CREATE TEMPORARY TABLE late ON COMMIT DROP AS SELECT ${shape.key.map((column, i) => `${inKeyTexts(column, i)} AS key${i + 1}`).join(', ')}
         FROM ${keysFrom(shape)}`,
        keyColumns(shape, keys),
      );
      await supersede(client, identity, shape, shownOf(shape), stamps[remedy]);
      await client.query('DROP TABLE pg_temp.late');
    }
    return same.length;
  });
}

/** The keys, as the table has them, but for those of parked rows: these lie in their siblings alone, which a write would cover. */
function shownOf(shape: TableShape): string {
  const inLate = (_: unknown, i: number) => `l.key${i + 1}`;
  return `SELECT ${shape.key.map((column, i) => `coalesce(d.${column.ident}, m.key${i + 1})`).join(', ')} FROM pg_temp.late AS l
    LEFT JOIN ${shape.name} AS d ON ${keysEqual(shape, inData('d'), inLate)}
    LEFT JOIN ${shape.meta} AS m ON ${keysEqual(shape, inMeta('m'), inLate)}
    WHERE d.${shape.key[0]!.ident} IS DISTINCT FROM NULL OR m.siblings IS NULL AND m.xid IS NOT NULL`;
}
