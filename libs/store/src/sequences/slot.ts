import type { Slot } from '@pgmesh/core';
import type { Queryable } from '../database';

/** The slot that is noted in this database; null while there is none, or no pgmesh. */
export async function readSlot(db: Queryable): Promise<Slot | null> {
  const { rows: there } = await db.query<{ found: boolean }>(`SELECT to_regclass('p2p.slot') IS NOT NULL AS found`);
  if (!there[0]!.found) return null;
  const { rows } = await db.query<Slot>('SELECT slot, of FROM p2p.slot');
  return rows[0] ?? null;
}

export async function noteSlot(db: Queryable, { slot, of }: Slot): Promise<void> {
  await db.query(
    `INSERT INTO p2p.slot AS s (slot, of) VALUES ($1, $2)
     ON CONFLICT (only_one) DO UPDATE SET slot = excluded.slot, of = excluded.of WHERE (s.slot, s.of) <> (excluded.slot, excluded.of)`,
    [slot, of],
  );
}
