import type { WindowFrame } from '@pgmesh/wire';
import { CopyWatch } from './copy-watch';
import type { MeshEvents, MeshNews } from './events';
import type { Outgoing } from './outgoing';
import type { Applied, ParkingChange, SyncHistory, SyncRecord } from './ports';

/** Rows of one transaction that are told one by one. */
const toldMost = 1_000;

/** Tells what was exchanged: to the listeners, and to the history that is kept. Idle polls are not told. */
export class Journal {
  /** How far first copies are. */
  readonly copies: CopyWatch;

  constructor(
    private readonly events: MeshEvents,
    private readonly history: SyncHistory,
    private readonly clock: () => number,
  ) {
    this.copies = new CopyWatch(clock);
  }

  async received(applied: Applied, direction: 'pull' | 'received', started: number): Promise<void> {
    if (applied.outcome !== 'applied') return;
    const { head, rows, changed, conflicts, noted, tables } = applied;
    const peer = head.node;
    if (rows > 0)
      this.events.emit({ type: 'changes_received', peer, kind: head.kind, rows, changed, conflicts, tables });
    if (head.kind === 'copy') {
      const { copy } = applied.position;
      const state = this.copies.merged(peer, head.extent, copy);
      this.events.emit({ type: 'copy_progress', peer, table: copy?.next.table ?? null, rows, ...state });
    }
    for (const note of noted) this.events.emit({ type: 'conflict', peer, ...note });
    const more = conflicts - noted.length;
    if (more > 0) this.events.emit({ type: 'more_conflicts', peer, count: more, tables: Object.keys(tables) });
    if (rows > 0)
      await this.#keep({ peer, direction, kind: head.kind, rows, changed, conflicts, error: null }, started);
  }

  /** What was parked is told before what is back: a row that takes another's key is why that one lost it. */
  parking({ parked, returned, discarded }: ParkingChange): void {
    this.#tellEach(
      'more_parked',
      parked.map((note) => ({ type: 'parked', ...note })),
    );
    this.#tellEach('more_unparked', [
      ...returned.map((note) => ({ type: 'unparked' as const, stands: true, ...note })),
      ...discarded.map((note) => ({ type: 'unparked' as const, stands: false, ...note })),
    ]);
  }

  #tellEach(rest: 'more_parked' | 'more_unparked', news: readonly (MeshNews & { readonly table: string })[]): void {
    for (const one of news.slice(0, toldMost)) this.events.emit(one);
    const more = news.slice(toldMost);
    const tables = [...new Set(more.map(({ table }) => table))];
    if (more.length > 0) this.events.emit({ type: rest, count: more.length, tables });
  }

  /** A window that the peer fetched. Whether it was applied, and what it changed there, the peer's own record tells. */
  served(peer: string, { kind }: WindowFrame, { rows, tables }: Outgoing): void {
    if (rows > 0) this.events.emit({ type: 'changes_sent', peer, kind, rows, tables });
  }

  async sent(
    peer: string,
    head: WindowFrame,
    outgoing: Outgoing,
    { changed, conflicts }: Pick<SyncRecord, 'changed' | 'conflicts'>,
    started: number,
  ): Promise<void> {
    const { rows } = outgoing;
    this.served(peer, head, outgoing);
    if (rows === 0) return;
    await this.#keep({ peer, direction: 'push', kind: head.kind, rows, changed, conflicts, error: null }, started);
  }

  async failed(peer: string, direction: SyncRecord['direction'], code: string, detail: string): Promise<void> {
    this.events.emit({ type: 'sync_failed', peer, code, detail });
    const error = `${code}: ${detail}`;
    await this.#keep({ peer, direction, kind: 'window', rows: 0, changed: 0, conflicts: 0, error }, this.clock());
  }

  /** The exchange itself is over: a history that cannot be written is told, and takes nothing back. */
  async #keep(record: Omit<SyncRecord, 'started_at' | 'duration_ms'>, started: number): Promise<void> {
    try {
      const duration_ms = Math.max(0, this.clock() - started);
      await this.history.add({ ...record, started_at: new Date(started), duration_ms });
    } catch (error) {
      const detail = `The record of this exchange was not kept: ${error instanceof Error ? error.message : String(error)}`;
      this.events.emit({ type: 'sync_failed', peer: record.peer, code: 'unavailable', detail });
    }
  }
}
