import type { Slot } from '@pgmesh/core';
import { escapeLiteral, type Pool } from 'pg';
import { inTransaction, sqlState } from '../database';
import type { TableShape } from '../table-shape';
import { type Counted, type Counter, isBehind, readCounter } from './counter';
import { readFedColumns } from './fed-column';
import { canBeKept } from './report';
import { readSlot } from './slot';

/** For how long rows may have arrived before the sequences are looked at, in milliseconds: a merge does not wait for it. */
const delay = 100;

/** Between two looks at the sequences, in the time that a look takes. */
const rest = 10;

/** As many numbers are drawn and thrown away, which keeps nobody waiting (5 ms); beyond that the sequence is locked and set. */
const mostDrawn = 10_000n;

/** Writers may be kept waiting for so long behind a transaction that has drawn from the sequence. */
const patience = '100ms';

const lockNotAvailable = '55P03';
const limitExceeded = '2200H';

/**
 * Keeps the sequences of shared tables ahead of the numbers that arrive in their columns: a later insert here would fail on one of
 * them. Never backwards, and within the steps of the sequence, so that it stays among the numbers of its own slot.
 */
export class SequenceKeeper {
  #slot: Slot | null = null;
  #fed: readonly Counted[] = [];
  /** By column: all that was written below this transaction id has been looked at. */
  #looked = new Map<string, string>();
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
    return this.#inTurn(async () => {
      this.#slot = await readSlot(this.pool);
      const fed = await readFedColumns(
        this.pool,
        this.shapes.all.map(({ oid }) => oid),
      );
      // Who lets a sequence come round has it draw numbers once more.
      this.#fed = fed.filter(canBeKept).filter(({ plain, cycle }) => plain && !cycle);
      const present = new Set(this.#fed.map(nameOf));
      for (const name of this.#looked.keys()) if (!present.has(name)) this.#looked.delete(name);
      await this.#advance();
    });
  }

  /** Rows have arrived. */
  soon(): void {
    if (this.#fed.length === 0 || this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.#inTurn(() => this.#advance());
    }, this.#delay);
    this.#timer.unref();
  }

  async stop(): Promise<void> {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#fed = [];
    await this.#working;
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#working.then(() => this.reporting(work));
    this.#working = turn;
    return turn;
  }

  async #advance(): Promise<void> {
    if (this.#fed.length === 0) return;
    const begun = performance.now();
    const { rows } = await this.pool.query<{ xmin: string }>(
      'SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xmin',
    );
    for (const fed of this.#fed) {
      // One sequence's trouble does not keep the others from being looked after.
      await this.reporting(async () => {
        if (await this.#advanceOne(fed)) this.#looked.set(nameOf(fed), rows[0]!.xmin);
      });
    }
    this.#delay = Math.max(delay, rest * (performance.now() - begun));
  }

  /** Whether the sequence is ahead now. */
  async #advanceOne(fed: Counted): Promise<boolean> {
    const query = { highest: 'own', rows: this.#rowsOf(fed) } as const;
    const counter = await readCounter(this.pool, fed, query);
    if (!isBehind(fed, counter)) return true;
    const distance = (counter.highest! - counter.next) / fed.increment + 1n;
    // Numbers that sessions hold in their caches are thrown away only when the sequence is altered.
    if (distance <= mostDrawn && !fed.cached) return this.#draw(fed, distance);
    try {
      await inTransaction(this.pool, 'BEGIN', async (client) => {
        await client.query(
          `SET LOCAL lock_timeout = '${patience}'; ALTER SEQUENCE ${fed.sequence} INCREMENT BY ${fed.increment}`,
        );
        const locked: Counter = await readCounter(client, fed, query);
        if (!isBehind(fed, locked)) return;
        await client.query(`SELECT setval(${escapeLiteral(fed.sequence)}, ${locked.highest}, true)`);
      });
      return true;
    } catch (error) {
      if (sqlState(error) !== lockNotAvailable) throw error;
      if (!fed.cached) await this.#draw(fed, mostDrawn);
      return false;
    }
  }

  async #draw(fed: Counted, count: bigint): Promise<true> {
    try {
      await this.pool.query(
        `SELECT count(nextval(${escapeLiteral(fed.sequence)})) FROM generate_series(1, ${count}::int8)`,
      );
    } catch (error) {
      // Others have drawn meanwhile, to its end: it is ahead.
      if (sqlState(error) !== limitExceeded) throw error;
    }
    return true;
  }

  /** An index tells the highest number of all; else it is looked for among the rows that were written since the last time. */
  #rowsOf(fed: Counted): string | undefined {
    const since = this.#looked.get(nameOf(fed));
    const shape = this.shapes.all.find(({ oid }) => oid === fed.relation);
    if (since === undefined || shape === undefined) return undefined;
    if (fed.indexed && (fed.increment === 1n || fed.increment === -1n)) return undefined;
    const { meta, key, name } = shape;
    const written = `m.xid >= '${since}'::xid8`;
    const position = key.findIndex((column) => column.name === fed.column);
    if (position >= 0) return `SELECT m.key${position + 1} AS value FROM ${meta} AS m WHERE ${written}`;
    const same = key.map(({ ident, equals }, i) => `t.${ident} OPERATOR(${equals}) m.key${i + 1}`).join(' AND ');
    return `SELECT t.${fed.ident} AS value FROM ${meta} AS m JOIN ${name} AS t ON ${same} WHERE ${written} AND NOT m.deleted`;
  }
}

const nameOf = ({ table, column, sequence }: Counted): string => JSON.stringify([table, column, sequence]);
