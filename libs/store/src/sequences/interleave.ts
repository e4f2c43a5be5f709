import { firstDrawn, type Slot } from '@pgmesh/core';
import type { Pool } from 'pg';
import { inTransaction, type Queryable, sqlState } from '../database';
import {
  type Counted,
  furthest,
  isAscending,
  isBehind,
  isInterleaved,
  readCounter,
  restartOf,
  roundTo,
} from './counter';

/** What became of a sequence. */
export interface Interleaved {
  readonly sequence: string;
  /** The columns that it feeds: `schema.table.column`. */
  readonly columns: readonly string[];
  /** `refused`: it cannot be. `busy`: a transaction that has drawn from it is still open. */
  readonly outcome: 'interleaved' | 'unchanged' | 'refused' | 'busy';
  /** The number that it draws next, as text; null where it was not interleaved. */
  readonly next: string | null;
  /** Why not, and what to do. */
  readonly detail: string | null;
}

/** For how long writers may be kept waiting behind a transaction that has drawn from the sequence. */
const patience = '5s';

const lockNotAvailable = '55P03';

/**
 * Lets a sequence draw the numbers of one slot only, from the next one on that is beyond all that it drew and that its columns
 * have. `former` is the slot by which it may count already.
 */
export async function interleave(
  pool: Pool,
  columns: readonly Counted[],
  slot: Slot,
  former: Slot | null,
): Promise<Interleaved> {
  const { sequence, increment } = columns[0]!;
  const told = { sequence, columns: columns.map(({ table, ident }) => `${table}.${ident}`) };
  const not = (outcome: 'refused' | 'busy', detail: string): Interleaved => ({ ...told, outcome, next: null, detail });
  const steps = increment < 0n ? -increment : increment;
  if (![1n, BigInt(slot.of), BigInt(former?.of ?? 1)].includes(steps)) {
    return not(
      'refused',
      `${sequence} counts in steps of ${increment}, which an application may rely on to draw blocks of numbers. ` +
        `If none does: ALTER SEQUENCE ${sequence} INCREMENT BY ${increment < 0n ? -1 : 1}; and again.`,
    );
  }
  try {
    const done = await inTransaction(pool, 'BEGIN', async (client) => {
      if (await standsInSlot(client, columns, slot)) return null;
      // Its lock waits for those who have drawn a number and not yet written it, and lets nobody draw until the commit.
      await client.query(
        `SET LOCAL lock_timeout = '${patience}'; ALTER SEQUENCE ${sequence} INCREMENT BY ${increment}`,
      );
      const restart = await restartIn(client, columns, slot);
      if (restart !== null) await client.query(statementFor(columns[0]!, slot, restart));
      return { restart };
    });
    if (done === null) return { ...told, outcome: 'unchanged', next: null, detail: null };
    if (done.restart !== null) return { ...told, outcome: 'interleaved', next: String(done.restart), detail: null };
    return not('refused', fullDetail(columns, slot));
  } catch (error) {
    const state = sqlState(error);
    if (state === lockNotAvailable) {
      return not(
        'busy',
        `A transaction that has drawn from ${sequence} is open for longer than ${patience}. Writers are not kept waiting for it: ` +
          'run this again when it has ended.',
      );
    }
    if (state === '42501') {
      return not('refused', `${(error as Error).message}. Run this as the owner of the sequence.`);
    }
    throw error;
  }
}

async function standsInSlot(db: Queryable, columns: readonly Counted[], slot: Slot): Promise<boolean> {
  for (const fed of columns) {
    const counter = await readCounter(db, fed, { highest: 'own' });
    if (!isInterleaved(fed, counter.next, slot) || (!fed.cycle && isBehind(fed, counter))) return false;
  }
  return true;
}

/** The furthest of what its columns ask for; null when one has no room. */
async function restartIn(db: Queryable, columns: readonly Counted[], slot: Slot): Promise<bigint | null> {
  let restart: bigint | null = null;
  for (const fed of columns) {
    const asked = restartOf(fed, await readCounter(db, fed, { highest: 'all' }), slot);
    if (asked === null) return null;
    restart = restart === null ? asked : furthest(fed, restart, asked);
  }
  return columns.every(({ min, max }) => restart! >= min && restart! <= max) ? restart : null;
}

/** TRUNCATE … RESTART IDENTITY goes back to the start, a sequence with CYCLE to its minimum: they are of the slot, too. */
function statementFor(fed: Counted, slot: Slot, restart: bigint): string {
  const ascending = isAscending(fed);
  const begin = firstDrawn(slot, fed.start, ascending);
  const start = begin >= fed.min && begin <= fed.max ? begin : restart;
  const round = fed.cycle ? `${ascending ? 'MINVALUE' : 'MAXVALUE'} ${firstDrawn(slot, roundTo(fed), ascending)}` : '';
  return `ALTER SEQUENCE ${fed.sequence} INCREMENT BY ${ascending ? slot.of : -slot.of} ${round} START WITH ${start} RESTART WITH ${restart}`;
}

function fullDetail(columns: readonly Counted[], slot: Slot): string {
  const { sequence, increment, min, max } = columns[0]!;
  const fields = columns.map(({ table, ident }) => `${table}.${ident}`).join(', ');
  return (
    `${sequence} has no number left for slot ${slot.slot} of ${slot.of} before its end at ${increment > 0n ? max : min}. Make room in ${fields} ` +
    `on all nodes: ALTER TABLE … ALTER COLUMN … TYPE bigint; ALTER SEQUENCE ${sequence} AS bigint; and again.`
  );
}
