import type { Resolver, RowImage, RowState, RowVersion, Rule, StampedRow, StrategyName, Visible } from '@pgmesh/core';
import { type Edit, edited, type ModelMember, printed, type Written } from './model';
import { frontier, standing } from './oracle';

/** The functions of the core that a history is played on; a planted fault takes the place of one. */
export type Core = typeof import('@pgmesh/core');

/** What a node holds of a row, and, for the oracle, which writes have reached it in any form: one bit each. */
export interface Replica {
  readonly state: RowState;
  readonly known: bigint;
}

export const nothing: Replica = { state: [], known: 0n };

/** Something that must hold and did not, in words. */
export class Broken extends Error {}

export interface Writer {
  readonly origin: string;
  readonly priority: number;
  readonly now: number;
}

/**
 * A function that is pure and chooses by values; it fails on some of them, and does not care which side comes first. Of two
 * rows the greater text stands for each column, and a deletion against a row called 3.
 */
export const sampleResolver: Resolver = (_key, a, b) => {
  const [x, y] = [a.value, b.value];
  if (x === null || y === null) return (x ?? y)?.a === '3' ? null : (x ?? y);
  if (x.a === '1' && y.a === '1') throw new Error('ones');
  if (x.a === '2' && y.a === '2') return { id: x.id! };
  const greater = (column: string) => ((x[column] ?? '') > (y[column] ?? '') ? x[column]! : y[column]!);
  return { id: x.id!, a: greater('a'), b: greater('b') ?? null, doc: greater('doc') ?? null };
};

/** The writes of one row, with what they were made over, and the checks of what the core makes of them. */
export class History {
  readonly written: Written[] = [];

  constructor(
    readonly core: Core,
    readonly id: string,
  ) {}

  rule(strategy: StrategyName): Rule {
    return { strategy, resolver: sampleResolver, keyColumns: ['id'], jsonb: new Set(['doc']) };
  }

  show(state: RowState, strategy: StrategyName): Visible {
    return this.core.visible(state, this.rule(strategy), [this.id]);
  }

  /** A write as capture makes it, over what the table shows; null when it changes nothing. */
  write(replica: Replica, { origin, priority, now }: Writer, edit: Edit, strategy: StrategyName): Replica | null {
    const { core } = this;
    const shown = this.check(replica, strategy);
    const before = replica.known === 0n ? null : this.expected(replica.known, strategy);
    const byField = strategy === 'merge-fields';
    const written = { index: this.written.length, seen: replica.known } as {
      -readonly [K in keyof Written]: Written[K];
    };
    const row = edited(this.#baseOf(before, written), edit, this.id, written, byField);
    const image = printed(row);
    if (core.sameImage(image, before?.image ?? null)) return null;
    const over: StampedRow | null = shown && { ...shown.main, image: shown.image, fields: shown.fields };
    const fields = byField ? core.fieldsOfWrite(over, image, new Set(['doc'])) : null;
    const version: RowVersion = {
      stamp: core.nextStamp(now, core.highestStamp(replica.state)),
      origin,
      priority,
      past: core.pastOfWrite(replica.state, origin),
      deleted: image === null,
      image,
      ...(fields && { fields }),
    };
    Object.assign(written, { version, row });
    this.written.push(written);
    const state = core.mergeStates(replica.state, [version]);
    return { state, known: replica.known | (1n << BigInt(written.index)) };
  }

  /** The row that was there by the model; one that a resolver made has no author but the write that takes it over. */
  #baseOf(before: ReturnType<History['expected']> | null, self: Written): Written['row'] {
    if (before === null || before.image === null) return null;
    if (before.row !== null) return before.row;
    const { id, a, b, doc } = before.image;
    const cell = (value: string | null | undefined) => ({ by: self, value: value ?? null });
    const members = (text: string): ReadonlyMap<string, ModelMember> =>
      new Map(
        [...text.matchAll(/"(\w+)": ([^,}]+)/g)].map(([, key, value]) => [key!, { by: self, value: value! }] as const),
      );
    const document = doc?.startsWith('{') ? { by: self, value: members(doc) } : cell(doc);
    return { id: cell(id), a: cell(a), b: cell(b), doc: document };
  }

  merge(a: Replica, b: Replica): Replica {
    return { state: this.core.mergeStates(a.state, b.state), known: a.known | b.known };
  }

  expected(known: bigint, strategy: StrategyName): ReturnType<typeof standing> {
    return standing(frontier(this.written, known), strategy, sampleResolver, this.id);
  }

  /** Holds a replica against the oracle: its versions, the row that stands, and where each of its fields comes from. */
  check({ state, known }: Replica, strategy: StrategyName): Visible | null {
    const concurrent = frontier(this.written, known);
    const [have, want] = [state, concurrent.map(({ version }) => version)].map(names);
    if (have !== want) throw new Broken(`holds the versions ${have || 'none'}, not ${want || 'none'}`);
    if (concurrent.length === 0) return null;
    const shown = this.show(state, strategy);
    const expected = this.expected(known, strategy);
    if (!sameRow(shown.image, expected.image))
      throw new Broken(`shows ${JSON.stringify(shown.image)}, not ${JSON.stringify(expected.image)}`);
    if (names([shown.main]) !== names([expected.main.version]))
      throw new Broken(`shows its row under ${names([shown.main])}, not ${names([expected.main.version])}`);
    if ((shown.open !== null) !== expected.open) throw new Broken(`is ${shown.open ? '' : 'not '}open`);
    if (expected.row !== null) this.#checkAuthors(shown, expected.row);
    const kept = shown.composed || sameRow(shown.image, shown.main.image);
    if (!kept) throw new Broken('shows a composed row as if it were a version');
    return shown;
  }

  #checkAuthors(shown: Visible, row: NonNullable<Written['row']>): void {
    const over: StampedRow = { ...shown.main, image: shown.image, fields: shown.fields };
    const compare = (field: string, { version }: Written, [stamp, origin]: readonly [number, string]) => {
      if (stamp !== version.stamp || origin !== version.origin)
        throw new Broken(`takes ${field} for written by ${origin}@${stamp}, not by ${names([version])}`);
    };
    for (const column of ['id', 'a', 'b', 'doc'] as const) {
      const { by, value } = row[column];
      compare(column, by, this.core.columnStamp(over, column));
      if (!(value instanceof Map)) continue;
      for (const [key, member] of value as ReadonlyMap<string, ModelMember>)
        compare(`${column}.${key}`, member.by, this.core.keyStamp(over, column, key));
    }
  }
}

export function names(versions: readonly RowVersion[]): string {
  return versions
    .map(({ origin, stamp }) => `${origin}@${stamp}`)
    .sort()
    .join(' ');
}

function sameRow(a: RowImage | null, b: RowImage | null): boolean {
  if (a === null || b === null) return a === b;
  return (
    Object.keys(a).length === Object.keys(b).length && Object.entries(a).every(([name, value]) => b[name] === value)
  );
}
