import { firstDrawn, type Slot } from '@pgmesh/core';
import type { Pool } from 'pg';
import { inTransaction, type Queryable, sqlState, waits } from '../database';
import {
  type Counted,
  type Counter,
  furthest,
  isAscending,
  isBehind,
  isInterleaved,
  lockSequence,
  readCounter,
  readOwnCounter,
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
      await lockSequence(client, columns[0]!, patience);
      const counters = await countersIn(client, columns);
      const restart = restartBeyond(counters, slot);
      if (restart !== null) await client.query(statementFor(columns[0]!, slot, restart));
      return { restart, counters };
    });
    if (done === null) return { ...told, outcome: 'unchanged', next: null, detail: null };
    if (done.restart !== null) return { ...told, outcome: 'interleaved', next: String(done.restart), detail: null };
    return not('refused', fullDetail(done.counters, slot));
  } catch (error) {
    const state = sqlState(error);
    if (waits(state)) {
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
    const counter = await readOwnCounter(db, fed);
    if (!isInterleaved(fed, counter.next, slot) || (!fed.cycle && isBehind(fed, counter))) return false;
  }
  return true;
}

interface Standing {
  readonly fed: Counted;
  readonly counter: Counter;
}

async function countersIn(db: Queryable, columns: readonly Counted[]): Promise<Standing[]> {
  const all: Standing[] = [];
  for (const fed of columns) all.push({ fed, counter: await readCounter(db, fed) });
  return all;
}

/** The furthest of what its columns ask for; null when one has no room. */
function restartBeyond(standings: readonly Standing[], slot: Slot): bigint | null {
  const asked = standings.map(({ fed, counter }) => restartOf(fed, counter, slot));
  const { fed } = standings[0]!;
  const restart = asked.reduce((one, other) => (one === null || other === null ? null : furthest(fed, one, other)));
  const fits = restart !== null && standings.every(({ fed: { min, max } }) => restart >= min && restart <= max);
  return fits ? restart : null;
}

/** TRUNCATE … RESTART IDENTITY goes back to the start, a sequence with CYCLE to its minimum: they are of the slot, too. */
function statementFor(fed: Counted, slot: Slot, restart: bigint): string {
  const ascending = isAscending(fed);
  const begin = firstDrawn(slot, fed.start, ascending);
  const start = begin >= fed.min && begin <= fed.max ? begin : restart;
  const round = fed.cycle ? `${ascending ? 'MINVALUE' : 'MAXVALUE'} ${firstDrawn(slot, roundTo(fed), ascending)}` : '';
  return `ALTER SEQUENCE ${fed.sequence} INCREMENT BY ${ascending ? slot.of : -slot.of} ${round} START WITH ${start} RESTART WITH ${restart}`;
}

function fullDetail(standings: readonly Standing[], slot: Slot): string {
  const { sequence, increment, min, max } = standings[0]!.fed;
  const fields = standings.map(
    ({ fed, counter }) => `${fed.table}.${fed.ident}, which has ${counter.highest ?? 'none'}`,
  );
  return (
    `${sequence} has no number left for slot ${slot.slot} of ${slot.of} before its end at ${increment > 0n ? max : min}, beyond all of ` +
    `${fields.join(', ')}. Make room on all nodes (ALTER TABLE … ALTER COLUMN … TYPE bigint; ALTER SEQUENCE ${sequence} AS bigint;) and try again.`
  );
}
