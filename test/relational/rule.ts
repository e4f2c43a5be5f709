import { type FieldStamp, type RowVersion, type StrategyName, type Visible, visible } from '@pgmesh/core';
import {
  canonical,
  completed,
  keyOf,
  type ReferenceRule,
  type Row,
  type Schema,
  type Table,
  tableOf,
  valuesOf,
} from './schema';
import type { Version } from './state';

/**
 * The rule of docs/parking.md once more, written from the page and told by exhaustion: of all versions, and nothing else, which rows stand.
 * The oracle that nodes are compared with.
 */
export interface Entrant {
  readonly table: string;
  /** Equal for equal keys. */
  readonly key: string;
  readonly row: Row;
  /** Under whose name it would stand. */
  readonly stamp: number;
  readonly origin: string;
  /** The write that inserted it, as far as its versions tell. */
  readonly inserted: FieldStamp;
  /** Its table does not take it, whatever the others are. */
  readonly refused: boolean;
}

export interface Verdict {
  readonly standing: readonly Entrant[];
  readonly parked: readonly (Entrant & { readonly reason: 'key' | 'reference' | 'refused' })[];
}

/** The row that enters for a set of versions; null where all that is left is a deletion. */
export function entrant(table: Table, key: string, versions: readonly Version[]): Entrant | null {
  const { image, main, fields } = shown(table, versions);
  if (image === null) return null;
  const row = completed(table, image);
  const { stamp, origin } = main;
  const inserted = fields?.[table.key[0]!]?.at ?? ([stamp, origin] as const);
  return { table: table.name, key, row, stamp, origin, inserted, refused: !passes(table, row) };
}

function shown(table: Table, versions: readonly Version[]): Pick<Visible, 'image' | 'main' | 'fields'> {
  const state = versions.map((version) => ({ ...version, past: version.past ?? {} })) as RowVersion[];
  const by = (strategy: StrategyName) =>
    visible(state, { strategy, keyColumns: table.key, jsonb: new Set() }, JSON.parse(key0(table, state)) as string[]);
  const made = by(table.strategy);
  // A row that nobody wrote so, and that its table does not take, leaves its conflict open: the last write stands.
  const refused = made.composed && made.image !== null && !takes(table, completed(table, made.image));
  return refused ? by('last-write-wins') : made;
}

function key0(table: Table, state: readonly RowVersion[]): string {
  return keyOf(table, state.find(({ image }) => image !== null)?.image ?? {});
}

/** Whether the triggers let it pass that look at rows of others, too. */
export function passes({ guards }: Table, row: Row): boolean {
  return guards.every(({ always, holds }) => !always || holds(row) !== false);
}

/** Whether the table's own constraints take the row, whatever the others are. */
export function takes({ columns, checks, keys }: Table, row: Row): boolean {
  return (
    columns.every(({ name, notNull }) => !notNull || row[name] !== null) &&
    checks.every(({ holds }) => holds(row) !== false) &&
    keys.every((key) => key.takes(row))
  );
}

export function decide(schema: Schema, entrants: readonly Entrant[]): Verdict {
  const holding = schema.tables.flatMap((table) =>
    holdingKeys(
      table,
      entrants.filter((one) => one.table === table.name && !one.refused),
    ),
  );
  const standing = new Set(holding);
  for (let before = -1; before !== standing.size;) {
    before = standing.size;
    for (const one of [...standing]) if (!isMet(schema, one, standing)) standing.delete(one);
  }
  const holds = new Set(holding);
  const parked = entrants
    .filter((one) => !standing.has(one))
    .map((one) => ({
      ...one,
      reason: one.refused ? ('refused' as const) : holds.has(one) ? ('reference' as const) : ('key' as const),
    }));
  return { standing: [...standing], parked };
}

/** From the highest to the lowest: a row holds its keys if no row above it that holds has one of them. */
function holdingKeys(table: Table, entrants: readonly Entrant[]): Entrant[] {
  const holding: Entrant[] = [];
  for (const one of [...entrants].sort((a, b) => -byRank(table, a, b))) {
    const beaten = holding.some((other) => table.keys.some(({ collide }) => collide(one.row, other.row)));
    if (!beaten) holding.push(one);
  }
  return holding;
}

/**
 * Above 0 where the first is the higher. The newer version is the higher, or where the first write wins the older row; of rows that one statement
 * wrote or inserted, the one whose key comes after the other's.
 */
export function byRank(table: Table, a: Entrant, b: Entrant): number {
  const byAge = byWrite(b.inserted, a.inserted);
  const byVersion = byWrite([a.stamp, a.origin], [b.stamp, b.origin]);
  const order = table.strategy === 'first-write-wins' ? byAge : byVersion;
  if (order !== 0) return order;
  for (const name of table.key) {
    const { type } = table.columns.find((column) => column.name === name)!;
    const [x, y] = [canonical(type, a.row[name]!)!, canonical(type, b.row[name]!)!];
    if (x !== y) return (type === 'int' || type === 'numeric' ? Number(x) > Number(y) : x > y) ? 1 : -1;
  }
  return 0;
}

function byWrite([stampOfA, a]: FieldStamp, [stampOfB, b]: FieldStamp): number {
  return stampOfA - stampOfB || (a === b ? 0 : a > b ? 1 : -1);
}

function isMet(schema: Schema, one: Entrant, among: ReadonlySet<Entrant>): boolean {
  return tableOf(schema, one.table).references.every((reference) => isReferenceMet(schema, reference, one, among));
}

export function isReferenceMet(
  schema: Schema,
  { columns, parent, parentColumns, full, from, to }: ReferenceRule,
  { table, row }: Entrant,
  among: Iterable<Entrant>,
): boolean {
  if (from && !from.takes!(row)) return true;
  const wanted = valuesOf(tableOf(schema, table), columns, row);
  const nulls = wanted.filter((value) => value === null).length;
  if (nulls > 0) return !full || nulls === wanted.length;
  const of = tableOf(schema, parent);
  for (const other of among) {
    if (other.table !== parent || (to && !to.takes!(other.row))) continue;
    if (valuesOf(of, parentColumns, other.row).every((value, i) => value === wanted[i])) return true;
  }
  return false;
}
