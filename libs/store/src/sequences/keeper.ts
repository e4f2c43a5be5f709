import type { Slot } from '@pgmesh/core';
import { escapeLiteral, type Pool } from 'pg';
import { giveWay, inTransaction, lockNotAvailable, sqlState } from '../database';
import type { TableShape } from '../table-shape';
import { type Counted, isBehind, lockSequence, readOwnCounter } from './counter';
import { type FedColumn, readFedColumns, readIncrement } from './fed-column';
import { canBeKept } from './report';
import { readSlot } from './slot';

/** For how long rows may have arrived before the sequences are looked at, in milliseconds: a merge does not wait for it. */
const delay = 100;

/** Between two looks at the sequences, in the time that a look takes. */
const rest = 10;

/** As many numbers are drawn and thrown away, which keeps nobody waiting (10 ms); beyond that the sequence is locked and set. */
const mostDrawn = 10_000n;

/** Writers may be kept waiting for so long behind a transaction that has drawn from the sequence. */
const patience = '100ms';

const limitExceeded = '2200H';

/**
 * Keeps the sequences of shared tables ahead of the numbers that arrive in their columns: a later insert here would fail on one of
 * them. Never backwards, and within the steps of the sequence, so that it stays among the numbers of its own slot.
 */
export class SequenceKeeper {
  #slot: Slot | null = null;
  #fed: readonly Counted[] = [];
  /** By column: below which transaction id all that was written has been looked at, as far as the sequence then reached. */
  #looked = new Map<string, { readonly xid: string; readonly reach: bigint }>();
  #timer: NodeJS.Timeout | null = null;
  #delay = delay;
  #working: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly pool: Pool,
    private readonly shapes: { readonly all: readonly TableShape[] },
    private readonly reporting: (work: () => Promise<void>) => Promise<void>,
  ) {}

  /** Which numbers this node draws; null while its sequences are not interleaved. */
  get slot(): Slot | null {
    return this.#slot;
  }

  /** Looks which sequences there are, and brings them ahead. */
  keepUp(): Promise<void> {
    const turn = this.#working.then(() => this.reporting(() => this.#look()));
    this.#working = turn;
    return turn;
  }

  /** Rows have arrived. */
  soon(): void {
    if (this.#fed.length === 0 || this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.keepUp();
    }, this.#delay);
    this.#timer.unref();
  }

  async stop(): Promise<void> {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#fed = [];
    await this.#working;
  }

  async #look(): Promise<void> {
    const begun = performance.now();
    this.#slot = await readSlot(this.pool);
    const oids = this.shapes.all.map(({ oid }) => oid);
    // Who lets a sequence come round has it draw numbers once more.
    const fed = await this.#readFed(oids);
    if (fed === null) return;
    this.#fed = fed.filter(canBeKept).filter(({ plain, cycle }) => plain && !cycle);
    const present = new Set(this.#fed.map(nameOf));
    for (const name of this.#looked.keys()) if (!present.has(name)) this.#looked.delete(name);
    if (this.#fed.length > 0) await this.#advance();
    this.#delay = Math.max(delay, rest * (performance.now() - begun));
  }

  /** Null while somebody alters or empties one of the tables: whoever waits for us there must not become a deadlock's victim for this. */
  async #readFed(oids: readonly number[]): Promise<FedColumn[] | null> {
    try {
      return await inTransaction(this.pool, 'BEGIN', async (client) => {
        await client.query(giveWay);
        return readFedColumns(client, oids);
      });
    } catch (error) {
      if (sqlState(error) !== lockNotAvailable) throw error;
      return null;
    }
  }

  async #advance(): Promise<void> {
    const { rows } = await this.pool.query<{ xmin: string }>(
      'SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xmin',
    );
    for (const fed of this.#fed) {
      // One sequence's trouble does not keep the others from being looked after.
      await this.reporting(async () => {
        const reach = await this.#advanceOne(fed);
        if (reach !== null) this.#looked.set(nameOf(fed), { xid: rows[0]!.xmin, reach });
      });
    }
  }

  /** How far the sequence is ahead of what the table has; null when it could not be brought there. */
  async #advanceOne(fed: Counted): Promise<bigint | null> {
    const rowsOf = (reach: bigint): string | null => this.#rowsOf(fed, reach);
    const counter = await readOwnCounter(this.pool, fed, rowsOf);
    if (!isBehind(fed, counter)) return counter.reach;
    const distance = (counter.highest! - counter.next) / fed.increment + 1n;
    // Numbers that sessions hold in their caches are thrown away only when the sequence is altered.
    if (distance <= mostDrawn && !fed.cached) {
      await this.#draw(fed, distance);
      return counter.reach;
    }
    try {
      return await inTransaction(this.pool, 'BEGIN', async (client) => {
        await lockSequence(client, fed, patience);
        // It may have been interleaved since we looked which there are: then it has other numbers.
        if ((await readIncrement(client, fed.sequence)) !== fed.increment) return null;
        const locked = await readOwnCounter(client, fed, rowsOf);
        if (isBehind(fed, locked)) {
          await client.query(`SELECT setval(${escapeLiteral(fed.sequence)}, ${locked.highest}, true)`);
        }
        return locked.reach;
      });
    } catch (error) {
      if (sqlState(error) !== lockNotAvailable) throw error;
      if (!fed.cached) await this.#draw(fed, mostDrawn);
      return null;
    }
  }

  async #draw(fed: Counted, count: bigint): Promise<void> {
    try {
      await this.pool.query(
        `SELECT count(nextval(${escapeLiteral(fed.sequence)})) FROM generate_series(1, ${count}::int8)`,
      );
    } catch (error) {
      // Others have drawn meanwhile, to its end: it is ahead.
      if (sqlState(error) !== limitExceeded) throw error;
    }
  }

  /**
   * Of the primary key, all numbers that a row ever had: of one that was deleted, or that cannot stand now, too. Where no index tells
   * the highest of all, those are looked at that were written since the last time.
   */
  #rowsOf(fed: Counted, reach: bigint): string | null {
    const shape = this.shapes.all.find(({ oid }) => oid === fed.relation);
    if (shape === undefined) return null;
    const { meta, key, name } = shape;
    const position = key.findIndex((column) => column.name === fed.column);
    const looked = this.#looked.get(nameOf(fed));
    const steps = fed.increment !== 1n && fed.increment !== -1n;
    const indexed = position < 0 ? fed.indexed : position === 0;
    const since = looked?.reach === reach && (steps || !indexed) ? `m.xid >= '${looked.xid}'::xid8` : null;
    if (position >= 0) return `SELECT m.key${position + 1} AS value FROM ${meta} AS m${since ? ` WHERE ${since}` : ''}`;
    if (since === null) return null;
    const same = key.map(({ ident, equals }, i) => `t.${ident} OPERATOR(${equals}) m.key${i + 1}`).join(' AND ');
    return `SELECT t.${fed.ident} AS value FROM ${meta} AS m JOIN ${name} AS t ON ${same} WHERE ${since} AND NOT m.deleted`;
  }
}

const nameOf = ({ table, column, sequence }: Counted): string => JSON.stringify([table, column, sequence]);
