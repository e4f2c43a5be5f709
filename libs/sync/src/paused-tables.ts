import { type FormAt, shapeDrifts, type TableForm } from '@pgmesh/core';
import { Problem } from '@pgmesh/wire';
import type { LinkContext } from './link-context';
import type { Neighbour } from './neighbours';
import type { PausedTable } from './status';

type Direction = PausedTable['direction'];
type Paused = ReadonlyMap<string, PausedTable>;

/** Milliseconds after which a table is tried again whose sender had to copy it first; doubled each time, up to the interval. */
const firstWait = 250;

/** A window was refused for a table of which we thought that it fits: it is left out until a greeting tells more, or a while has passed. */
interface Refusal {
  readonly paused: PausedTable;
  readonly ours: string | undefined;
  readonly theirs: string | undefined;
  /** In ms since 1970. */
  readonly until: number;
}

/**
 * Which tables are kept out of the exchange with one peer, because values of one side would be lost in the other's table (trap 37).
 * The position remembers where such a table was left off, and the stream goes back there when it comes again: nothing is skipped.
 */
export class PausedTables {
  #paused: Paused = new Map();
  #announced: Paused = new Map();
  #peer: string | null = null;
  #compared: readonly unknown[] = [];
  readonly #refusals = new Map<string, Refusal>();
  /** Of which one side has to copy first, and until when they are left out. */
  readonly #waiting = new Map<string, { readonly until: number; readonly times: number }>();
  /** Every column that was ever seen in a table, by side and table: what is not there any more was dropped or renamed. */
  readonly #former = { ours: new Map<string, Set<string>>(), theirs: new Map<string, Set<string>>() };

  constructor(
    private readonly context: Pick<LinkContext, 'store' | 'neighbours' | 'events' | 'clock' | 'times'>,
    /** Called when the peer's tables are not what we know of them: it is to be greeted again. */
    private readonly outdated: () => void,
    /** Called when tables that were left out for a while are tried again. */
    private readonly again: () => void = () => undefined,
  ) {}

  list(): PausedTable[] {
    return [...this.#paused.values()];
  }

  /** The tables that both share and that go from it to us (`pull`), or from us to it (`push`). */
  flowing(peer: string, direction: Direction): string[] {
    const { store, neighbours } = this.context;
    const theirs = new Set(neighbours.get(peer)?.tables);
    return store.tables().filter((table) => {
      const key = keyOf({ table, direction });
      return theirs.has(table) && !this.#paused.has(key) && !this.#isWaiting(key);
    });
  }

  /** The receiver has forgotten deletions that the sender has not come past: the sender copies the tables first, which takes a while. */
  waitsFor(peer: string, direction: Direction, tables: readonly string[]): void {
    const { clock, times } = this.context;
    if (this.#peer !== peer) this.#begin(peer);
    for (const table of tables) {
      const key = keyOf({ table, direction });
      const before = this.#waiting.get(key)?.times ?? 0;
      const delay = Math.min(times.interval, firstWait * 2 ** before);
      this.#waiting.set(key, { until: clock() + delay, times: before + 1 });
      setTimeout(() => this.again(), delay + 1).unref();
    }
  }

  /** The tables were exchanged: whoever had to copy has done so. */
  worked(direction: Direction, tables: readonly string[]): void {
    for (const table of tables) this.#waiting.delete(keyOf({ table, direction }));
  }

  #isWaiting(key: string): boolean {
    return this.context.clock() < (this.#waiting.get(key)?.until ?? 0);
  }

  /**
   * Looks again, where something was told anew, and tells what has changed.
   * @param greeted that the peer has just been greeted: nothing that it refused is out of date any more
   * @returns whether other tables flow now
   */
  compare(peer: string, greeted = false): boolean {
    const { store, neighbours } = this.context;
    const neighbour = neighbours.get(peer);
    if (!neighbour) return false;
    if (this.#peer !== peer) this.#begin(peer);
    const compared = [store.forms(), neighbour.told, neighbour.tables];
    if (!greeted && compared.every((one, i) => one === this.#compared[i])) return false;
    this.#compared = compared;
    const before = this.#paused;
    this.#paused = this.#look(neighbour);
    this.#announce(peer);
    return [...this.#paused.keys()].join() !== [...before.keys()].join();
  }

  /** Whether a window failed for one of its tables alone: that is left out from now on, and the others go on. */
  refused(peer: string, direction: Direction, error: unknown): boolean {
    if (!(error instanceof Problem) || (error.code !== 'unknown_column' && error.code !== 'invalid_value'))
      return false;
    const { table, column } = error.extra;
    if (typeof table !== 'string' || !this.flowing(peer, direction).includes(table)) return false;
    const paused: PausedTable = {
      table,
      direction,
      columns: typeof column === 'string' ? [column] : [],
      reason: error.message,
      remedy: 'It is tried again at every P2P_SYNC_INTERVAL.',
    };
    const { store, neighbours, clock, times } = this.context;
    this.#refusals.set(keyOf(paused), {
      paused,
      ours: store.forms().get(table)?.digest,
      theirs: neighbours.get(peer)?.told.forms.digests.get(table),
      until: clock() + times.interval,
    });
    this.#paused = new Map([...this.#paused, [keyOf(paused), paused]]);
    // Nearly always a table was altered just now, and the greeting tells how.
    this.outdated();
    return true;
  }

  #begin(peer: string): void {
    this.#peer = peer;
    this.#paused = this.#announced = new Map();
    this.#refusals.clear();
    this.#waiting.clear();
    this.#former.theirs.clear();
  }

  #look({ nodeId, tables, told }: Neighbour): Paused {
    const { store } = this.context;
    const forms = store.forms();
    const shared = store.tables().filter((table) => tables.includes(table));
    const found = shared.flatMap((table) => {
      const ours = forms.get(table);
      const digest = told.forms.digests.get(table);
      const theirs = ours && digest === ours.digest ? ours.form : told.forms.wholes.get(table);
      const [here, there] = [
        at(store.identity.nodeId, ours?.form, this.#seen('ours', table)),
        at(nodeId, theirs, this.#seen('theirs', table)),
      ];
      const drifted =
        here && there ? [pausedBy(table, 'pull', here, there), pausedBy(table, 'push', there, here)] : [null, null];
      return (['pull', 'push'] as const).map(
        (direction, i) => drifted[i] ?? this.#refusedStill({ table, direction }, ours?.digest, digest),
      );
    });
    return new Map(found.flatMap((paused) => (paused ? [[keyOf(paused), paused] as const] : [])));
  }

  #refusedStill(one: Pick<PausedTable, 'table' | 'direction'>, ours?: string, theirs?: string): PausedTable | null {
    const refusal = this.#refusals.get(keyOf(one));
    if (!refusal) return null;
    if (refusal.ours === ours && refusal.theirs === theirs && this.context.clock() < refusal.until)
      return refusal.paused;
    this.#refusals.delete(keyOf(one));
    return null;
  }

  #seen(side: 'ours' | 'theirs', table: string): Set<string> {
    const seen = this.#former[side].get(table) ?? new Set();
    this.#former[side].set(table, seen);
    return seen;
  }

  #announce(peer: string): void {
    const before = this.#announced;
    this.#announced = this.#paused;
    const { events } = this.context;
    for (const [key, paused] of this.#paused) {
      const { table, direction, reason, remedy } = paused;
      if (before.get(key)?.reason === reason) continue;
      events.emit({ type: 'table_paused', peer, table, direction, reason, remedy });
    }
    for (const [key, { table, direction }] of before) {
      if (!this.#paused.has(key)) events.emit({ type: 'table_resumed', peer, table, direction });
    }
  }
}

const keyOf = ({ table, direction }: Pick<PausedTable, 'table' | 'direction'>): string => `${direction} ${table}`;

function at(node: string, form: TableForm | undefined, seen: Set<string>): FormAt | null {
  if (!form) return null;
  for (const { name } of form.columns) seen.add(name);
  return { node, form, former: seen };
}

function pausedBy(table: string, direction: Direction, receiver: FormAt, sender: FormAt): PausedTable | null {
  const drifts = shapeDrifts(table, receiver, sender);
  if (drifts.length === 0) return null;
  const joined = (part: 'reason' | 'remedy'): string => [...new Set(drifts.map((drift) => drift[part]))].join(' ');
  const columns = drifts.map(({ column }) => column);
  return { table, direction, columns, reason: joined('reason'), remedy: joined('remedy') };
}
