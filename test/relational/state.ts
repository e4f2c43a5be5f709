import { canonical, type Row, type Schema, type Table, tableOf } from './schema';
import type { Site } from './site';

/** A version as a node keeps it. */
export interface Version {
  readonly stamp: number;
  readonly origin: string;
  readonly priority: number;
  readonly past: Readonly<Record<string, number>> | null;
  readonly deleted: boolean;
  readonly image: Row | null;
  readonly fields?: unknown;
}

/** A metadata row with the row in the table, either of which may be missing. */
export interface Kept {
  readonly meta: (Version & { readonly siblings: readonly Version[] | null; readonly key: readonly string[] }) | null;
  readonly row: Row | null;
}

export interface ParkedRecord {
  readonly table: string;
  readonly key: readonly string[];
  readonly stamp: number;
  readonly origin: string;
  readonly composed: boolean;
  readonly image: Row;
  readonly reason: string;
  readonly constraint: string | null;
  readonly waits_for: unknown;
}

/** All that a node has, in an order that is the same everywhere. */
export interface NodeState {
  /** By the tables' names. */
  readonly tables: ReadonlyMap<string, readonly Kept[]>;
  readonly parked: readonly ParkedRecord[];
}

/** Where a sibling was made, not all know. */
const siblings = `(SELECT jsonb_agg(s.value - 'made') FROM jsonb_array_elements(m.siblings) AS s)`;

export async function readState({ db, store }: Site, schema: Schema): Promise<NodeState> {
  const queries = schema.tables.map((table, place) => {
    const shape = store.find(table.name)!;
    const image = table.columns.map(({ name }) => `'${name}', d.${name}::text`).join(', ');
    const keys = table.key.map((name, i) => ({ data: `d.${name}`, meta: `m.key${i + 1}` }));
    const key = keys.map(({ meta }) => `${meta}::text`).join(', ');
    return `SELECT ${place} AS place, CASE WHEN m.stamp IS NOT NULL THEN jsonb_build_object('key', jsonb_build_array(${key}), 'stamp', m.stamp,
        'origin', m.origin, 'priority', m.priority, 'past', m.past, 'fields', m.fields, 'deleted', m.deleted, 'siblings', ${siblings}) END AS meta,
        CASE WHEN d.${table.key[0]} IS NOT NULL THEN jsonb_build_object(${image}) END AS row
      FROM ${shape.meta} AS m FULL JOIN ${table.name} AS d ON ${keys.map(({ data, meta }) => `${data} = ${meta}`).join(' AND ')}`;
  });
  const rows = await db.sql<Kept & { place: number }>(queries.join(' UNION ALL '));
  const tables = new Map(
    schema.tables.map(({ name }, place) => [
      name,
      sorted(rows.filter((row) => row.place === place).map(({ meta, row }) => ({ meta: meta && named(meta), row }))),
    ]),
  );
  const parked = await db.sql<{ record: ParkedRecord }>(
    `SELECT to_jsonb(p) - 'id' - 'table_id' - 'parked_at' - 'message' || jsonb_build_object('table', t.name) AS record
     FROM p2p.parked AS p JOIN p2p.tracked_table AS t ON t.id = p.table_id`,
  );
  return { tables, parked: sorted(parked.map(({ record }) => record)) };
}

const named = ({ fields, ...meta }: NonNullable<Kept['meta']>) => (fields ? { ...meta, fields } : meta);

/** The set of a row's versions: the one that it stands by and the others, which hold it too where the table has not its row. */
export function versionsOf({ meta, row }: Kept): readonly Version[] {
  if (meta === null) return [];
  const { siblings, key: _key, ...own } = meta;
  const others = siblings ?? [];
  if (others.some(({ stamp, origin }) => stamp === own.stamp && origin === own.origin)) return others;
  return [...others, { ...own, image: own.deleted ? null : row }];
}

/** A key as the metadata prints it, equal for equal keys. */
export function keyText(table: Table, key: readonly string[]): string {
  const typeOf = (name: string) => table.columns.find((column) => column.name === name)!.type;
  return JSON.stringify(table.key.map((name, i) => canonical(typeOf(name), key[i]!)));
}

export function keyTextIn(schema: Schema, table: string, key: readonly string[]): string {
  return keyText(tableOf(schema, table.replace(/^public\./, '')), key);
}

function sorted<T>(all: readonly T[]): T[] {
  return all
    .map((one) => [JSON.stringify(one), one] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, one]) => one);
}
