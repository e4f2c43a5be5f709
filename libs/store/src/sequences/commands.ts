import { type Slot, slotProblem } from '@pgmesh/core';
import type { Pool } from 'pg';
import { openPool } from '../database';
import { migrate } from '../migrate';
import { chooseTables, type Finding } from '../preflight';
import type { Counted } from './counter';
import { readFedColumns } from './fed-column';
import { interleave, type Interleaved } from './interleave';
import { canBeKept, type SequenceView, viewSequences } from './report';
import { noteSlot, readSlot } from './slot';

export interface SequencesOptions {
  readonly url: string;
  /** As for a node (see StoreOptions); the tables that are shared unless given, and all with a primary key before there are any. */
  readonly tables?: readonly string[];
}

export interface SequencesView {
  /** The node of this database; null before it was first started. */
  readonly node_id: string | null;
  /** Null while none is noted. */
  readonly slot: Slot | null;
  readonly sequences: readonly SequenceView[];
}

/** The serial keys of a database, and which of them would collide with those of other nodes. @throws Error when tables cannot be shared */
export function listSequences(options: SequencesOptions): Promise<SequencesView> {
  return withPool(options.url, async (pool) => {
    const relations = await relationsOf(pool, options.tables);
    const slot = await readSlot(pool);
    return { node_id: await nodeId(pool), slot, sequences: await viewSequences(pool, relations, slot) };
  });
}

/**
 * Lets the sequences of a database draw the numbers of this slot only, and notes the slot, so that peers are told. What is as it
 * should be is left alone.
 * @throws Error when it is no slot, or tables cannot be shared
 */
export function interleaveSequences(options: SequencesOptions & { readonly slot: Slot }): Promise<Interleaved[]> {
  const { slot } = options;
  const problem = slotProblem(slot);
  if (problem !== null) return Promise.reject(new Error(problem));
  return withPool(options.url, async (pool) => {
    const relations = await relationsOf(pool, options.tables);
    await migrate(pool);
    const former = await readSlot(pool);
    const bySequence = new Map<string, Counted[]>();
    for (const fed of (await readFedColumns(pool, relations)).filter(canBeKept)) {
      bySequence.set(fed.sequence, [...(bySequence.get(fed.sequence) ?? []), fed]);
    }
    const outcomes: Interleaved[] = [];
    for (const columns of bySequence.values()) outcomes.push(await interleave(pool, columns, slot, former));
    // Until all that could be was interleaved, the next run has to know by which steps the rest counts.
    if (!outcomes.some(({ outcome }) => outcome === 'busy')) await noteSlot(pool, slot);
    return outcomes;
  });
}

async function relationsOf(pool: Pool, asked: readonly string[] | undefined): Promise<number[]> {
  const shared = asked === undefined ? await tracked(pool) : [];
  if (shared.length > 0) return shared;
  const { chosen, findings } = await chooseTables(pool, asked ?? ['*']);
  const errors = findings.filter(({ level }) => level === 'error');
  if (errors.length > 0) throw new Error(errors.map(inWords).join('\n'));
  return chosen.map(({ oid }) => oid);
}

const inWords = ({ table, problem, remedy }: Finding): string => `${table ? `${table}: ` : ''}${problem} ${remedy}`;

async function tracked(pool: Pool): Promise<number[]> {
  if (!(await isThere(pool, 'p2p.tracked_table'))) return [];
  const { rows } = await pool.query<{ oid: number }>(
    'SELECT c.oid::int8 AS oid FROM p2p.tracked_table AS t JOIN pg_class AS c ON c.oid = t.relation ORDER BY t.name',
  );
  return rows.map(({ oid }) => oid);
}

async function nodeId(pool: Pool): Promise<string | null> {
  if (!(await isThere(pool, 'p2p.node'))) return null;
  const { rows } = await pool.query<{ node_id: string }>('SELECT node_id FROM p2p.node');
  return rows[0]?.node_id ?? null;
}

async function isThere(pool: Pool, relation: string): Promise<boolean> {
  const { rows } = await pool.query<{ there: boolean }>('SELECT to_regclass($1) IS NOT NULL AS there', [relation]);
  return rows[0]!.there;
}

async function withPool<T>(url: string, work: (pool: Pool) => Promise<T>): Promise<T> {
  const pool = openPool(url, 1);
  try {
    return await work(pool);
  } finally {
    await pool.end();
  }
}
