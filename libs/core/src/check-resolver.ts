import { seededRandom } from './random';
import { describeFailure, type Resolved, type Resolver, type RowKey, resolve } from './resolver';
import { highestStamp, mergeStates, pastOfWrite, type RowState } from './row-state';
import type { RowImage, RowVersion } from './row-version';
import { nextStamp } from './stamp';
import { sameImage } from './visible';

/** What a resolver is tried on. */
export interface ResolverTrial {
  /** For each column the values that rows are made of, as PostgreSQL's text: `{ qty: ['0', '7', null] }`. */
  readonly columns: Readonly<Record<string, readonly (string | null)[]>>;
  /** The key's columns; each takes one value in a history. */
  readonly key: readonly string[];
  /** How many histories; 200 unless told. */
  readonly runs?: number;
  /** Equal seeds make equal histories; 1 unless told. */
  readonly seed?: number;
}

/** What a resolver did wrong, on which versions. */
export interface ResolverFinding {
  readonly kind: 'invalid' | 'not_repeatable' | 'depends_on_order';
  readonly message: string;
  readonly versions: RowState;
  readonly run: number;
}

export type ResolverCheck =
  { readonly ok: true; readonly sets: number } | { readonly ok: false; readonly finding: ResolverFinding };

/**
 * Tries a user's resolver on the conflicts of generated histories: that it returns rows, the same ones whenever and wherever it
 * is asked (the clock and the random numbers are others each time), and the same whichever side comes first and
 * however the versions are grouped. For tests: while it runs, `Date` and `Math.random` are replaced.
 */
export function checkResolver(resolver: Resolver, trial: ResolverTrial): ResolverCheck {
  const random = seededRandom(trial.seed ?? 1);
  const histories = Array.from({ length: trial.runs ?? 200 }, () => conflicts(trial, random));
  const worlds = [new World(1), new World(2)];
  const repeats: Check = (state, key) => repeatFault(state, worlds, (some) => resolve(some, resolver, key, trial.key));
  const orders: Check = (state, key) => orderFault(state, (some) => resolve(some, resolver, key, trial.key));
  // Whoever answers at random depends on the order as well: the cause is told before the consequence.
  for (const check of [repeats, orders]) {
    for (const [run, { key, states }] of histories.entries()) {
      for (const state of states) {
        const fault = check(state, key);
        if (fault !== null) return { ok: false, finding: { ...fault, versions: state, run } };
      }
    }
  }
  return { ok: true, sets: histories.reduce((sum, { states }) => sum + states.length, 0) };
}

type Fault = Pick<ResolverFinding, 'kind' | 'message'>;
type Check = (state: RowState, key: RowKey) => Fault | null;
type Resolve = (state: RowState) => Resolved;

function repeatFault(state: RowState, worlds: readonly World[], resolveSet: Resolve): Fault | null {
  const [here, there] = worlds.map((world) => world.run(() => resolveSet(state))) as [Resolved, Resolved];
  if (here.ok && there.ok && sameImage(here.image, there.image)) return null;
  if (!here.ok) return { kind: 'invalid', message: describeFailure(here.failure) };
  const message =
    'The same versions gave different rows. A resolver may not read the clock, draw random numbers or remember.';
  return { kind: 'not_repeatable', message };
}

function orderFault(state: RowState, resolveSet: Resolve): Fault | null {
  // Four versions have 24 orders; of more, the first four stand for all.
  const few = state.slice(0, 4);
  const expected = resolveSet(few);
  for (const order of permutations(few)) {
    const made = resolveSet(order);
    if (made.ok && expected.ok && sameImage(made.image, expected.image)) continue;
    const names = order.map(({ origin, stamp }) => `${origin}@${stamp}`).join(', ');
    return { kind: 'depends_on_order', message: `Taken in the order ${names} the versions gave another row.` };
  }
  return null;
}

/** The sets of concurrent versions that come up while some nodes write to one row and hear of each other now and then. */
function conflicts(trial: ResolverTrial, random: () => number): { key: RowKey; states: RowState[] } {
  const below = (n: number) => Math.floor(random() * n);
  const keys: RowImage = Object.fromEntries(trial.key.map((column) => [column, pick(trial.columns[column]!, below)]));
  const nodes: RowState[] = ['a', 'b', 'c', 'd'].slice(0, 2 + below(3)).map(() => []);
  const states: RowState[] = [];
  for (let step = 0; step < 12; step++) {
    const at = below(nodes.length);
    const from = nodes[below(nodes.length)]!;
    const origin = String.fromCharCode(97 + at);
    nodes[at] = below(2) === 0 ? mergeStates(nodes[at]!, from) : [write(nodes[at]!, origin, trial, keys, below)];
    if (nodes[at]!.length > 1 && nodes[at]!.some(({ image }) => image !== null)) states.push(nodes[at]!);
  }
  // What fails on two versions is easier to read than what fails on four.
  states.sort((a, b) => a.length - b.length);
  return { key: trial.key.map((column) => keys[column]!), states };
}

function write(
  state: RowState,
  origin: string,
  { columns }: ResolverTrial,
  keys: RowImage,
  below: (n: number) => number,
): RowVersion {
  const deleted = below(8) === 0;
  const image = Object.fromEntries(Object.entries(columns).map(([column, values]) => [column, pick(values, below)]));
  return {
    stamp: nextStamp(1 + below(20), highestStamp(state)),
    origin,
    priority: below(3),
    past: pastOfWrite(state, origin),
    deleted,
    image: deleted ? null : { ...image, ...keys },
  };
}

function pick<Value>(values: readonly Value[], below: (n: number) => number): Value {
  return values[below(values.length)]!;
}

function permutations<Item>(items: readonly Item[]): Item[][] {
  if (items.length <= 1) return [[...items]];
  return items.flatMap((item, i) => permutations(items.toSpliced(i, 1)).map((rest) => [item, ...rest]));
}

/** Another node: with another clock, which goes on, and other random numbers. */
class World {
  readonly #random: () => number;
  #now: number;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    this.#now = seed * 31_536_000_000;
  }

  run<Result>(act: () => Result): Result {
    const [date, random] = [globalThis.Date, Math.random];
    try {
      globalThis.Date = this.#clock(date);
      Math.random = this.#random;
      return act();
    } finally {
      globalThis.Date = date;
      Math.random = random;
    }
  }

  #clock(real: DateConstructor): DateConstructor {
    const tick = () => (this.#now += 1);
    return class extends real {
      constructor(...given: readonly unknown[]) {
        super(...((given.length > 0 ? given : [tick()]) as [number]));
      }

      static override now(): number {
        return tick();
      }
    } as DateConstructor;
  }
}
