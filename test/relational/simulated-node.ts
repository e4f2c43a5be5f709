import type * as Core from '@pgmesh/core';
import type { RowVersion } from '@pgmesh/core';
import { byRank, decide, type Entrant, entrant, isReferenceMet, takes } from './rule';
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

/** A node without a database: versions, and of them the rows that stand, kept up step by step as the store does (docs/parking.md). */
export class SimulatedNode {
  readonly states = new Map<Place, readonly RowVersion[]>();
  readonly entrants = new Map<Place, Entrant>();
  readonly standing = new Map<Place, Entrant>();

  constructor(
    private readonly core: Parts,
    private readonly schema: Schema,
    readonly origin: string,
    private readonly priority: number,
  ) {}

  /**
   * A transaction of a user's: only if what the tables show afterwards satisfies every constraint. Nothing else is looked at.
   * @returns what was written; null where it is refused
   */
  write(changes: readonly Change[], now: number, together: boolean): Written[] | null {
    const shown = new Map(this.standing);
    for (const { table, key, row } of changes) {
      const place = placeOf({ table, key });
      if (row === null) shown.delete(place);
      else shown.set(place, { table, key, row, stamp: 0, origin: this.origin });
    }
    if (faultOf(this.schema, shown) !== null) return null;
    return changes.map(({ table, key, row }, i) => {
      const place = placeOf({ table, key });
      const state = this.states.get(place) ?? [];
      const stamp = Math.max(now + (together ? 0 : i), (this.core.highestStamp(state) ?? 0) + 1);
      const { origin, priority } = this;
      const past = this.core.pastOfWrite(state, origin);
      this.states.set(place, [{ stamp, origin, priority, past, deleted: row === null, image: row }]);
      this.enter(table, key);
      const entered = this.entrants.get(place);
      if (entered) this.standing.set(place, entered);
      else this.standing.delete(place);
      return { table, key: [key], stamp, origin };
    });
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
    this.settle(changed);
  }

  private enter(table: string, key: string): void {
    const place = placeOf({ table, key });
    const one = entrant(tableOf(this.schema, table), key, this.states.get(place)!);
    if (one) this.entrants.set(place, one);
    else this.entrants.delete(place);
  }

  /** Lift, draw, hold, put, refer: only what is parked, what has changed, and what they touch, is looked at. */
  settle(changed: ReadonlySet<Place>): void {
    const { standing, entrants } = this;
    const gone = new Map<Place, Entrant>();
    const lifted = new Set<Place>([...changed, ...[...entrants.keys()].filter((place) => !standing.has(place))]);
    const lift = (place: Place) => {
      const stood = standing.get(place);
      if (stood) gone.set(place, stood);
      standing.delete(place);
      lifted.add(place);
    };
    for (const place of lifted) lift(place);
    for (const table of this.schema.tables) {
      for (const { collide } of table.keys) {
        const mine = this.liftedOf(lifted, table.name);
        for (const [place, one] of [...standing]) {
          if (one.table !== table.name) continue;
          if (mine.some((other) => collide(other.row, one.row) && byRank(table, other, one) > 0)) lift(place);
        }
      }
      this.hold(table.name, lifted);
    }
    while (this.takeUnmetOut(lifted, gone, lift));
  }

  private liftedOf(lifted: ReadonlySet<Place>, table: string): Entrant[] {
    return [...lifted].flatMap((place) => this.entrants.get(place) ?? []).filter((one) => one.table === table);
  }

  private hold(name: string, lifted: ReadonlySet<Place>): void {
    const table = tableOf(this.schema, name);
    const mine = this.liftedOf(lifted, name).sort((a, b) => byRank(table, b, a));
    const others = [...this.standing.values()].filter((one) => one.table === name);
    const claims = mine.map((): string[] => []);
    const taken = mine.map((): string[] => []);
    for (const [k, { collide }] of table.keys.entries()) {
      for (const [i, one] of mine.entries()) {
        for (let j = i + 1; j < mine.length; j++) {
          if (!collide(one.row, mine[j]!.row)) continue;
          claims[i]!.push(`${k} ${i} ${j}`);
          claims[j]!.push(`${k} ${i} ${j}`);
        }
        if (others.some((other) => collide(one.row, other.row))) taken[i]!.push(`${k} taken`);
      }
    }
    const losses = this.core.holders(mine.map((_, i) => ({ claims: claims[i]!, taken: taken[i]! })));
    for (const [i, loss] of losses.entries()) if (loss === null) this.standing.set(placeOf(mine[i]!), mine[i]!);
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
        for (const [place] of out) lift(place);
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
      if (!takes(table, one.row)) return `${placeOf(one)} is not taken`;
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
