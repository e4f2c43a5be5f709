import type * as Core from '@pgmesh/core';
import type { Fields, RowVersion } from '@pgmesh/core';
import { byRank, decide, type Entrant, entrant, isReferenceMet, passes, takes } from './rule';
import { type Row, type Schema, tableOf, valuesOf } from './schema';
import type { Written } from './site';

/** What a node of the simulation takes from the core. */
export type Parts = Pick<typeof Core, 'holders' | 'mergeStates' | 'pastOfWrite' | 'highestStamp'>;

export interface Change {
  readonly table: string;
  /** Equal for equal keys. */
  readonly key: string;
  readonly row: Row | null;
}

type Place = string;
const placeOf = ({ table, key }: { table: string; key: string }): Place => `${table} ${key}`;

/** What a parked row waits for: a row that has its key, or the values that it refers to; the place of the parent where those are its primary key. */
type Awaited =
  | { readonly reason: 'refused'; readonly place: null }
  | { readonly reason: 'key'; readonly place: Place }
  | { readonly reason: 'reference'; readonly table: string; readonly place: Place | null };

/** A node without a database: versions, and of them the rows that stand, kept up step by step as the store does (docs/parking.md). */
export class SimulatedNode {
  readonly states = new Map<Place, readonly RowVersion[]>();
  readonly entrants = new Map<Place, Entrant>();
  readonly standing = new Map<Place, Entrant>();
  private readonly parked = new Map<Place, Awaited>();
  /** What users have written since it was last looked after. */
  private readonly written = new Set<Place>();

  constructor(
    private readonly core: Parts,
    public schema: Schema,
    readonly origin: string,
    private readonly priority: number,
  ) {}

  /**
   * A transaction of a user's: only if what the tables show afterwards satisfies every constraint. Nothing else is looked at.
   * @returns what was written; null where it is refused
   */
  write(changes: readonly Change[], now: number, together: boolean): Written[] | null {
    const { origin, priority } = this;
    const shown = new Map(this.standing);
    for (const { table, key, row } of changes) {
      const place = placeOf({ table, key });
      if (row === null) shown.delete(place);
      else shown.set(place, { table, key, row, stamp: 0, origin, inserted: [0, origin], refused: false });
    }
    if (faultOf(this.schema, shown) !== null) return null;
    return changes.map(({ table, key, row }, i) => {
      const place = placeOf({ table, key });
      const state = this.states.get(place) ?? [];
      const stamp = Math.max(now + (together ? 0 : i), (this.core.highestStamp(state) ?? 0) + 1);
      const past = this.core.pastOfWrite(state, origin);
      const fields = row && this.fieldsOfWrite(table, place);
      this.states.set(place, [{ stamp, origin, priority, past, deleted: row === null, image: row, fields }]);
      this.enter(table, key);
      this.parked.delete(place);
      this.written.add(place);
      const entered = this.entrants.get(place);
      if (entered) this.standing.set(place, entered);
      else this.standing.delete(place);
      return { table, key: [key], stamp, origin };
    });
  }

  /** Where the older row stands, a write of one that stands keeps its age. */
  private fieldsOfWrite(table: string, place: Place): Fields | null {
    const { key, strategy } = tableOf(this.schema, table);
    const stood = this.standing.get(place);
    return stood && strategy === 'first-write-wins' ? { [key[0]!]: { at: stood.inserted } } : null;
  }

  /** Takes what another node knows of some rows, and settles. */
  merge(rows: Iterable<readonly [Place, readonly RowVersion[]]>): void {
    const changed = new Set<Place>();
    for (const [place, theirs] of rows) {
      const ours = this.states.get(place) ?? [];
      const joined = this.core.mergeStates(ours, theirs);
      if (joined.length === ours.length && joined.every((version, i) => version === ours[i])) continue;
      this.states.set(place, joined);
      const space = place.indexOf(' ');
      this.enter(place.slice(0, space), place.slice(space + 1));
      changed.add(place);
    }
    this.settle(changed, new Set());
  }

  /** Looks after what users have written. */
  keepUp(): void {
    const written = new Set(this.written);
    this.written.clear();
    this.settle(new Set(), written);
  }

  /** Decides conflicts otherwise from now on: rows with several versions, and all that are parked, are judged anew. */
  follow(schema: Schema): void {
    this.schema = schema;
    const open = [...this.states].filter(([, state]) => state.length > 1).map(([place]) => place);
    for (const place of open) this.enter(place.slice(0, place.indexOf(' ')), place.slice(place.indexOf(' ') + 1));
    this.settle(new Set([...open, ...this.parked.keys()]), new Set());
  }

  private enter(table: string, key: string): void {
    const place = placeOf({ table, key });
    const one = entrant(tableOf(this.schema, table), key, this.states.get(place)!);
    if (one) this.entrants.set(place, one);
    else this.entrants.delete(place);
  }

  /** Lift, draw, hold, put, refer: only what has changed, what it touches, and what waits for that, is looked at. */
  private settle(changed: ReadonlySet<Place>, touched: ReadonlySet<Place>): void {
    const { standing, parked } = this;
    const gone = new Map<Place, Entrant>();
    const lifted = new Set<Place>();
    const lift = (place: Place) => {
      const stood = standing.get(place);
      if (stood) gone.set(place, stood);
      standing.delete(place);
      parked.delete(place);
      lifted.add(place);
    };
    for (const place of changed) lift(place);
    for (let waiting: Place[] = []; ;) {
      for (const place of waiting) lift(place);
      for (const table of this.schema.tables) {
        for (const { collide } of table.keys) {
          const mine = this.liftedOf(lifted, table.name);
          for (const [place, one] of [...standing]) {
            if (one.table !== table.name) continue;
            if (mine.some((other) => collide(other.row, one.row) && byRank(table, other, one) > 0)) lift(place);
          }
        }
      }
      waiting = this.waitingFor(new Set([...lifted, ...touched]));
      if (waiting.length === 0) break;
    }
    for (const place of lifted)
      if (this.entrants.get(place)?.refused) parked.set(place, { reason: 'refused', place: null });
    for (const { name } of this.schema.tables) this.hold(name, lifted);
    while (this.takeUnmetOut(lifted, gone, lift));
  }

  /** The parked rows whose lot may be another since these rows have changed. */
  private waitingFor(changed: ReadonlySet<Place>): Place[] {
    const tables = new Set([...changed].map((place) => place.slice(0, place.indexOf(' '))));
    return [...this.parked].flatMap(([place, awaited]) => {
      if (awaited.place !== null && changed.has(awaited.place)) return [place];
      if (awaited.reason !== 'reference') return [];
      const own = tableOf(this.schema, place.slice(0, place.indexOf(' ')));
      const claims = own.keys.length > 0 && tables.has(own.name);
      return claims || (awaited.place === null && tables.has(awaited.table)) ? [place] : [];
    });
  }

  private liftedOf(lifted: ReadonlySet<Place>, table: string): Entrant[] {
    return [...lifted]
      .flatMap((place) => this.entrants.get(place) ?? [])
      .filter((one) => one.table === table && !one.refused);
  }

  private hold(name: string, lifted: ReadonlySet<Place>): void {
    const table = tableOf(this.schema, name);
    const mine = this.liftedOf(lifted, name).sort((a, b) => byRank(table, b, a));
    const others = [...this.standing.values()].filter((one) => one.table === name);
    const claims = mine.map((): string[] => []);
    const taken = mine.map((): string[] => []);
    const holdersOutside = new Map<string, Place>();
    for (const [k, { collide }] of table.keys.entries()) {
      for (const [i, one] of mine.entries()) {
        for (let j = i + 1; j < mine.length; j++) {
          if (!collide(one.row, mine[j]!.row)) continue;
          claims[i]!.push(`${k} ${i} ${j}`);
          claims[j]!.push(`${k} ${i} ${j}`);
        }
        const other = others.find(({ row }) => collide(one.row, row));
        if (!other) continue;
        taken[i]!.push(`${k} taken`);
        holdersOutside.set(`${i} ${k} taken`, placeOf(other));
      }
    }
    const losses = this.core.holders(mine.map((_, i) => ({ claims: claims[i]!, taken: taken[i]! })));
    for (const [i, loss] of losses.entries()) {
      const place = placeOf(mine[i]!);
      if (loss === null) this.standing.set(place, mine[i]!);
      else {
        const holder = loss.holder === null ? holdersOutside.get(`${i} ${loss.claim}`)! : placeOf(mine[loss.holder]!);
        this.parked.set(place, { reason: 'key', place: holder });
      }
    }
  }

  private takeUnmetOut(lifted: Set<Place>, gone: ReadonlyMap<Place, Entrant>, lift: (place: Place) => void): boolean {
    let found = false;
    for (const table of this.schema.tables) {
      for (const reference of table.references) {
        const parent = tableOf(this.schema, reference.parent);
        const left = [...gone.values()]
          .filter((one) => one.table === parent.name)
          .map((one) => JSON.stringify(valuesOf(parent, reference.parentColumns, one.row)));
        const out = [...this.standing].filter(
          ([place, one]) =>
            one.table === table.name &&
            (lifted.has(place) || left.includes(JSON.stringify(valuesOf(table, reference.columns, one.row)))) &&
            !isReferenceMet(this.schema, reference, one, this.standing.values()),
        );
        for (const [place, one] of out) {
          lift(place);
          const isPrimary = reference.parentColumns.join() === parent.key.join();
          const wanted = JSON.stringify(valuesOf(table, reference.columns, one.row));
          const awaited = isPrimary ? placeOf({ table: parent.name, key: wanted }) : null;
          this.parked.set(place, { reason: 'reference', table: parent.name, place: awaited });
        }
        found ||= out.length > 0;
      }
    }
    return found;
  }

  /** How what stands differs from what the rule says of all versions; null where it does not. */
  faultOfRule(): string | null {
    const wanted = decide(this.schema, [...this.entrants.values()])
      .standing.map(placeOf)
      .sort();
    const there = [...this.standing.keys()].sort();
    if (wanted.join('; ') !== there.join('; '))
      return `by the rule [${wanted.join('; ')}] stand on ${this.origin}, and there are [${there.join('; ')}]`;
    return faultOf(this.schema, this.standing);
  }
}

/** A constraint that rows violate together. */
function faultOf(schema: Schema, shown: ReadonlyMap<Place, Entrant>): string | null {
  const all = [...shown.values()];
  for (const table of schema.tables) {
    const rows = all.filter((one) => one.table === table.name);
    for (const [i, one] of rows.entries()) {
      if (!takes(table, one.row) || !passes(table, one.row)) return `${placeOf(one)} is not taken`;
      for (const { name, collide } of table.keys) {
        if (rows.slice(i + 1).some((other) => collide(one.row, other.row))) return `${placeOf(one)} violates ${name}`;
      }
      for (const reference of table.references) {
        if (!isReferenceMet(schema, reference, one, all)) return `${placeOf(one)} violates ${reference.name}`;
      }
    }
  }
  return null;
}
