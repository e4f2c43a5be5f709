import type { Model, Table } from './model';
import { keyText } from './rows';
import type { Site } from '../support/site';

/** Settings under which values are printed, the same on both sites. */
const printing = `SET extra_float_digits = 1; SET "DateStyle" = 'ISO,YMD'; SET "TimeZone" = 'UTC'; SET "IntervalStyle" = 'postgres'; SET bytea_output = 'hex'`;

/** A table as bytes: each row by its key, and each version by its key. */
export interface Contents {
  readonly rows: Readonly<Record<string, string>>;
  readonly versions: Readonly<Record<string, string>>;
}

export async function contents(site: Site, model: Model): Promise<Map<string, Contents>> {
  const client = await site.connect();
  try {
    await client.query(printing);
    const { rows: tracked } = await client.query<{ id: number; name: string }>(
      'SELECT id, name FROM p2p.tracked_table',
    );
    const all = new Map<string, Contents>();
    for (const table of model.tables.values()) {
      const meta = `p2p.meta_${tracked.find(({ name }) => name === table.name)?.id}`;
      const keys = table.key.map((_, i) => `m.key${i + 1}`);
      const rows = await client.query<Line>(
        `SELECT ${keyText(table)} AS key, row_to_json(d.*)::text AS line FROM (SELECT x.*, x::text AS bytes FROM ${table.name} AS x) AS d ORDER BY 1`,
      );
      // A deletion may have been forgotten here and not there; where a sibling was made, not all know.
      const versions = await client.query<Line>(
        `SELECT ${keyOfMeta(table)} AS key, json_build_object('stamp', m.stamp, 'origin', m.origin, 'priority', m.priority, 'past', m.past,
           'fields', m.fields, 'siblings', (SELECT jsonb_agg(s - 'made') FROM jsonb_array_elements(m.siblings) AS s), 'deleted', m.deleted)::text AS line
         FROM ${meta} AS m WHERE NOT (m.deleted AND m.siblings IS NULL) ORDER BY ${keys.join(', ')}`,
      );
      all.set(table.name, { rows: byKey(rows.rows), versions: byKey(versions.rows) });
    }
    return all;
  } finally {
    await client.end();
  }
}

interface Line {
  readonly key: string;
  readonly line: string;
}

const byKey = (lines: readonly Line[]) => Object.fromEntries(lines.map(({ key, line }) => [key, line]));

function keyOfMeta({ key }: Table): string {
  const named = key.map(({ name }, i) => `'${name}', m.key${i + 1}`).join(', ');
  return `test.key_of(jsonb_build_object(${named}), ${key.map(({ name }) => `'${name}'`).join(', ')})`;
}

/** The first differences between two sites, told so that they can be looked into. */
export function differences(ours: Map<string, Contents>, theirs: Map<string, Contents>): string[] {
  const found: string[] = [];
  for (const [table, a] of ours) {
    const b = theirs.get(table)!;
    for (const kind of ['rows', 'versions'] as const) {
      const keys = new Set([...Object.keys(a[kind]), ...Object.keys(b[kind])]);
      const different = [...keys].filter((key) => a[kind][key] !== b[kind][key]);
      if (different.length === 0) continue;
      const [key] = different as [string];
      const one = (all: Contents) =>
        `${all[kind][key] ?? 'nothing'} ${kind === 'rows' ? `by ${all.versions[key]}` : ''}`.slice(0, 2000);
      found.push(`${table}: ${different.length} ${kind}, the first of them ${key}\n  a: ${one(a)}\n  b: ${one(b)}`);
    }
  }
  return found;
}

/** Rows whose version says that they are not there, and versions of rows that are not. */
export function torn(all: Map<string, Contents>): string[] {
  return [...all].flatMap(([table, { rows, versions }]) => {
    const live = Object.entries(versions).filter(([, line]) => !(JSON.parse(line) as { deleted: boolean }).deleted);
    const missing = live
      .filter(([key]) => !(key in rows))
      .map(([key]) => `${table} ${key}: a live version without its row`);
    const lives = new Set(live.map(([key]) => key));
    return [
      ...missing,
      ...Object.keys(rows)
        .filter((key) => !lives.has(key))
        .map((key) => `${table} ${key}: a row without a live version`),
    ];
  });
}

/** Keys that were inserted somewhere and never deleted or renamed anywhere, and that a site does not have. */
export async function lost(sites: readonly Site[], all: Map<string, Contents>): Promise<string[]> {
  const left = new Set<string>();
  const there = new Map<string, Set<string>>();
  for (const { pool } of sites) {
    const { rows } = await pool.query<{ name: string; key: string; live: boolean }>(
      'SELECT DISTINCT name, key, live FROM test.ledger',
    );
    for (const { name, key, live } of rows) {
      if (!live) left.add(`${name} ${key}`);
      else there.set(name, (there.get(name) ?? new Set()).add(key));
    }
  }
  return [...there].flatMap(([name, keys]) =>
    [...keys]
      .filter((key) => !left.has(`${name} ${key}`) && !(key in all.get(name)!.rows))
      .map((key) => `${name} ${key} was lost`),
  );
}

/** References that lead nowhere, as PostgreSQL itself finds them when a constraint is checked anew. */
export async function brokenReferences(site: Site, model: Model): Promise<string[]> {
  const found: string[] = [];
  for (const table of model.tables.values()) {
    for (const { columns, target, targetColumns } of table.references) {
      const ident = (of: Table, name: string) => of.columns.find((column) => column.name === name)!.ident;
      const parent = model.tables.get(target)!;
      const equal = columns
        .map((name, i) => `p.${ident(parent, targetColumns[i]!)} = d.${ident(table, name)}`)
        .join(' AND ');
      const { rows } = await site.pool.query<{ key: string }>(
        `SELECT ${keyText(table)} AS key FROM ${table.name} AS d WHERE NOT EXISTS (SELECT FROM ${target} AS p WHERE ${equal})
           AND num_nulls(${columns.map((name) => `d.${ident(table, name)}`).join(', ')}) = 0`,
      );
      found.push(
        ...rows.map(({ key }) => `${site.id}: ${table.name} ${key} refers to a row of ${target} that is not there`),
      );
    }
  }
  return found;
}
