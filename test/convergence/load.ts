import { DatabaseError } from 'pg';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Model } from './model';
import { Random } from './random';
import { insertion, meetingPlaces, type Owner, RowMaker } from './rows';
import type { Site as AnySite } from '../support/site';
import { type Inserted, Writer } from './writer';

type Site = AnySite<'a' | 'b'>;

/** Rows of each table before the nodes know of each other: the same on both sites, then each its own. */
export async function fill(site: Site, model: Model, seed: number): Promise<void> {
  const client = await site.connect();
  try {
    await client.query('BEGIN');
    const parts: readonly (readonly [number, readonly Owner[], number])[] = [
      [seed, ['s'], 12],
      [seed + (site.id === 'a' ? 1 : 2), ['s', site.id], 12],
    ];
    for (const [at, [partSeed, owners, count]] of parts.entries()) {
      const maker = new RowMaker(model, new Random(partSeed));
      for (const table of model.tables.values()) {
        if (table.name.endsWith('.audit') || (at > 0 && meetingPlaces.includes(table.name))) continue;
        for (const owner of owners) {
          const rows = await maker.make(client, table, owner, count);
          if (rows.length > 0) await client.query(insertion(table, rows, 'ON CONFLICT DO NOTHING'));
        }
      }
    }
    await client.query('COMMIT');
  } finally {
    await client.end();
  }
}

/** Identity columns that are keys count in steps of the sites' number. */
export async function separateKeys(site: Site): Promise<void> {
  const start = site.id === 'a' ? 1 : 2;
  for (const table of ['"Ops".stock_movements', '"Ops".audit']) {
    await site.pool.query(`ALTER TABLE ${table} ALTER COLUMN id SET INCREMENT BY 2 RESTART WITH ${start}`);
  }
}

/**
 * What may befall a writer among others: a key that is taken, a parent or child that came or went, a deadlock, a lock that is
 * not given, a column of theirs that a CHECK refuses; and a server that goes away.
 */
const expected = /^(23505|23503|23502|40001|40P01|55P03|57P0[123]|57014|08...)$/;

/** Between the actions of a writer, in ms: the nodes are to be tried, not the machine. */
const pause = 15;

export interface Tally {
  committed: number;
  refused: Map<string, number>;
  readonly inserted: Inserted[];
}

/** One writer of a site, until it is told to stop. A server that is gone is waited for. */
export async function write(site: Site, model: Model, seed: number, until: AbortSignal, tally: Tally): Promise<void> {
  const maker = new RowMaker(model, new Random(seed));
  let client = await site.connect();
  let writer = new Writer(client, site.id, maker);
  while (!until.aborted) {
    try {
      tally.inserted.push(...(await writer.act()));
      tally.committed++;
      await sleep(pause);
    } catch (error) {
      const code = error instanceof DatabaseError ? error.code! : 'away';
      if (code !== 'away' && !expected.test(code)) throw error;
      tally.refused.set(code, (tally.refused.get(code) ?? 0) + 1);
      const usable =
        code !== 'away' &&
        !code.startsWith('57P') &&
        (await client.query('ROLLBACK').then(
          () => true,
          () => false,
        ));
      if (usable) continue;
      client = await again(site, until);
      writer = new Writer(client, site.id, maker);
    }
  }
  await client.end();
}

async function again(site: Site, until: AbortSignal) {
  for (;;) {
    try {
      return await site.connect();
    } catch (error) {
      if (until.aborted) throw error;
      await sleep(50);
    }
  }
}
