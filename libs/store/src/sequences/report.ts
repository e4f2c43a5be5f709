import type { Slot } from '@pgmesh/core';
import type { Queryable } from '../database';
import type { Chosen, Finding } from '../preflight';
import { type Counted, type Counter, isBehind, isInterleaved, readCounter, readNext, readOwnCounter } from './counter';
import { type FedColumn, readFedColumns } from './fed-column';
import { readSlot } from './slot';

/** A column of a key that a sequence feeds, and whether two nodes would draw the same. Numbers are text: they may be of 64 bits. */
export interface SequenceView {
  readonly table: string;
  readonly column: string;
  /** Null where the default finds it by name at each insert. */
  readonly sequence: string | null;
  readonly increment: string | null;
  readonly cycle: boolean;
  /** The number drawn last; null when there was none. */
  readonly last_value: string | null;
  readonly next_value: string | null;
  /** The furthest number in the column; null when there is none, or when it has more than the numbers as drawn. */
  readonly highest: string | null;
  readonly collides: boolean;
  /** What is wrong, and what to do; null when it does not collide. */
  readonly problem: string | null;
  readonly remedy: string | null;
}

interface Fault {
  readonly problem: string;
  readonly remedy: string;
}

/** @param slot that of this node; null while it has none */
export async function viewSequences(
  db: Queryable,
  relations: readonly number[],
  slot: Slot | null,
): Promise<SequenceView[]> {
  const views: SequenceView[] = [];
  for (const fed of await readFedColumns(db, relations)) {
    views.push(canBeKept(fed) ? await viewOf(db, fed, slot) : outOfReach(fed));
  }
  return views;
}

/** What to say at the start of sequences that would collide, or that cannot be looked after. */
export async function findSequences(db: Queryable, chosen: readonly Chosen[]): Promise<Finding[]> {
  const slot = await readSlot(db);
  const oids = chosen.map(({ oid }) => oid);
  const findings: Finding[] = [];
  for (const fed of await readFedColumns(db, oids)) {
    // How far the table is matters to nobody here, and may take long to find.
    const fault = canBeKept(fed) ? faultOf(fed, await readNext(db, fed), slot) : reachFault(fed);
    if (fault) findings.push({ level: 'warning', table: fed.table, ...fault });
  }
  return findings;
}

/** Whether we know the sequence, and may alter it. */
export const canBeKept = (fed: FedColumn): fed is Counted => fed.sequence !== null && fed.ours;

async function viewOf(db: Queryable, fed: Counted, slot: Slot | null): Promise<SequenceView> {
  const all = await readCounter(db, fed);
  const own = await readOwnCounter(db, fed);
  const fault = faultOf(fed, own, slot);
  return {
    table: fed.table,
    column: fed.column,
    sequence: fed.sequence,
    increment: String(fed.increment),
    cycle: fed.cycle,
    last_value: text(all.last),
    next_value: text(all.next),
    highest: text(all.highest),
    collides: fault !== null,
    problem: fault?.problem ?? null,
    remedy: fault?.remedy ?? null,
  };
}

const text = (value: bigint | null): string | null => (value === null ? null : String(value));

function faultOf(fed: Counted, own: Counter, slot: Slot | null): Fault | null {
  const { column, sequence, increment } = fed;
  if (slot === null) {
    return {
      problem: `Its key ${column} is drawn from a sequence of this node, ${sequence}: two nodes will give different rows the same number.`,
      remedy:
        'Interleave it: pgmesh sequences --interleave --slot <the number of this node> --of <the most nodes there will be>. Or use uuid keys.',
    };
  }
  const again = `pgmesh sequences --interleave --slot ${slot.slot} --of ${slot.of}`;
  if (!isInterleaved(fed, own.next, slot)) {
    return {
      problem: `Its key ${column} is drawn from ${sequence} in steps of ${increment}, next ${own.next}: other nodes will give different rows the same number.`,
      remedy: again,
    };
  }
  if (!fed.cycle && isBehind(fed, own)) {
    return {
      problem: `Its key ${column} has ${own.highest}, which ${sequence} is still to draw: that insert will fail.`,
      remedy: again,
    };
  }
  return null;
}

function reachFault({ table, column, ident, sequence }: FedColumn): Fault {
  if (sequence === null) {
    return {
      problem: `Its key ${column} is drawn from a sequence that its default looks up by name at each insert: pgmesh cannot tell which.`,
      remedy: `ALTER TABLE ${table} ALTER COLUMN ${ident} SET DEFAULT nextval('<the sequence>'::regclass);`,
    };
  }
  return {
    problem: `Its key ${column} is drawn from ${sequence}, which the role does not own: numbers that others have used cannot be skipped.`,
    remedy: `ALTER SEQUENCE ${sequence} OWNER TO <the role>;`,
  };
}

function outOfReach(fed: FedColumn): SequenceView {
  const { table, column, sequence, cycle } = fed;
  const counter = { last_value: null, next_value: null, highest: null };
  const increment = sequence === null ? null : String(fed.increment);
  return { table, column, sequence, increment, cycle, ...counter, collides: true, ...reachFault(fed) };
}
