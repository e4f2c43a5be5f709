import type { ClientBase } from 'pg';
import type { Column, Model, Reference, Table } from './model';
import type { Random } from './random';
import { draw, uuid } from './values';

/**
 * Who may delete a row, and all that hangs on it: one of the sites, or nobody in particular (`s`, shared). Told by the first
 * character of its key. Children belong to whom their parents belong to, so that no site deletes a parent that the other refers to.
 */
export type Owner = 'a' | 'b' | 's';

/** Values as texts by column. */
export type Row = Record<string, string | null>;

/** Keys that both sites choose from few, so that they meet. */
export const meetingPlaces = ['"Ops".settings', '"Ops".tickets', '"Ops".flags', '"Ops".rates', '"Ops".counters'];

const finiteDay = (r: Random): string => `${r.between(2022, 2025)}-0${r.between(1, 9)}-${r.between(10, 28)}`;

/** Columns whose values their table limits. */
const special: Readonly<Record<string, (r: Random) => string>> = {
  'sales.shipments.carrier': (r) => r.pick(['post', 'rail', 'ship']),
  'sales.currencies.code': (r) => r.pick('XYZUVW'.split('')) + r.hex(2).toUpperCase(),
  '"Ops".rates.level': (r) => r.pick(['1', '1.0', '1.00', '2.5', '2.50', '3', '3.000', 'NaN', '4', '5', '6.1', '7']),
  '"Ops".counters.slot': (r) => String(r.between(1, 3)),
};

/** SQL for the owner of a row. */
export function ownerOf({ key }: Table): string {
  const marks = key.filter(({ owned }) => owned).map(({ ident }) => `left(d.${ident}::text, 1)`);
  if (marks.length === 0) return `'s'`;
  return `CASE WHEN 'a' IN (${marks.join(', ')}) THEN 'a' WHEN 'b' IN (${marks.join(', ')}) THEN 'b' ELSE 's' END`;
}

/** SQL for the key as the ledger writes it. */
export function keyText({ key }: Table): string {
  return `test.key_of(to_jsonb(d.*), ${key.map(({ name }) => `'${name}'`).join(', ')})`;
}

/** Texts of columns of some rows, the same rows for the same salt wherever the table is the same. */
export async function sample(
  client: ClientBase,
  table: Table,
  columns: readonly string[],
  owners: readonly Owner[],
  salt: string,
  limit: number,
): Promise<Row[]> {
  const idents = columns.map((name) => table.columns.find((column) => column.name === name)!.ident);
  const place = table.key.map(({ ident }) => `d.${ident}::text`).join(` || ' ' || `);
  const { rows } = await client.query<Row>(
    `SELECT ${idents.map((ident) => `d.${ident}::text AS ${ident}`).join(', ')} FROM ${table.name} AS d
     WHERE ${ownerOf(table)} = ANY ($1) ORDER BY md5(${place} || $2) LIMIT $3`,
    [owners, salt, limit],
  );
  return rows;
}

/** New rows that refer to what is there. Fewer than asked for, or none, where a parent is missing. */
export class RowMaker {
  constructor(
    readonly model: Model,
    readonly random: Random,
  ) {}

  table(name: string): Table {
    return this.model.tables.get(name)!;
  }

  async make(client: ClientBase, table: Table, owner: Owner, count: number, preset: Row = {}): Promise<Row[]> {
    const parents = new Map<Reference, Row[]>();
    for (const reference of table.references) {
      if (reference.columns.some((name) => name in preset)) continue;
      parents.set(reference, await this.parents(client, reference, owner, count));
    }
    const rows: Row[] = [];
    for (let i = 0; i < count; i++) {
      const row: Row = { ...preset };
      for (const [reference, candidates] of parents)
        if (inKey(table, reference)) this.refer(row, reference, candidates);
      const belongs = bearsOwner(table) || belongsTo(row, owner);
      for (const [reference, candidates] of parents) {
        if (inKey(table, reference)) continue;
        this.refer(row, reference, belongs ? candidates : candidates.filter((parent) => !belongsTo(parent, owner)));
      }
      if (table.columns.some((column) => column.key && row[column.name] === null)) continue;
      for (const column of table.columns)
        if (!column.drawn && !(column.name in row)) row[column.name] = this.value(table, column, owner);
      if (table.references.some((r) => r.required && r.columns.some((name) => row[name] === null))) continue;
      rows.push(row);
    }
    return distinct(table, rows);
  }

  /** A new reference of a row that belongs to `owner`. */
  async reference(client: ClientBase, reference: Reference, owner: Owner): Promise<Row> {
    const row: Row = {};
    this.refer(row, reference, await this.parents(client, reference, owner, 5));
    return row;
  }

  value(table: Table, column: Column, owner: Owner): string | null {
    const { random } = this;
    if (!column.required && random.chance(0.15)) return null;
    const one = special[`${table.name}.${column.ident}`];
    if (one) return one(random);
    if (!column.key) return draw(random, column.type, this.model);
    if (meetingPlaces.includes(table.name)) return `s${random.between(1, 25)}`;
    if (column.type === 'uuid') return uuid(random, owner);
    if (column.type === 'text') return `${owner}-${random.hex(8)}`;
    if (column.type === 'date') return finiteDay(random);
    if (column.type === 'integer' || column.type === 'smallint') return String(random.between(1, 30_000));
    return draw(random, column.type, this.model);
  }

  private parents(
    client: ClientBase,
    { target, targetColumns }: Reference,
    owner: Owner,
    count: number,
  ): Promise<Row[]> {
    const owners: Owner[] = owner === 's' ? ['s'] : ['s', owner];
    return sample(client, this.table(target), targetColumns, owners, this.random.hex(8), Math.min(count, 40));
  }

  private refer(row: Row, { columns, targetColumns, required }: Reference, candidates: readonly Row[]): void {
    const none = candidates.length === 0 || (!required && this.random.chance(0.2));
    const parent = none ? null : this.random.pick(candidates);
    columns.forEach((name, i) => (row[name] = parent ? parent[targetColumns[i]!]! : null));
  }
}

const inKey = ({ key }: Table, { columns }: Reference): boolean => key.some(({ name }) => columns.includes(name));

const belongsTo = (row: Row, owner: Owner): boolean =>
  owner !== 's' && Object.values(row).some((value) => value?.startsWith(owner));

/** Whether the key tells the owner by itself, not by what it refers to. */
const bearsOwner = (table: Table): boolean =>
  table.key.some(({ owned, name }) => owned && !table.references.some(({ columns }) => columns.includes(name)));

/** A statement must not bring a key twice. */
function distinct({ key }: Table, rows: readonly Row[]): Row[] {
  const byKey = new Map(
    rows.map((row) => [
      key.map(({ name, type }) => (type === 'numeric' ? Number(row[name]) : row[name])).join('|'),
      row,
    ]),
  );
  return [...byKey.values()];
}

/** `INSERT INTO … SELECT` of rows given as $1; answers with their keys. */
export function insertion(table: Table, rows: readonly Row[], clause = ''): { text: string; values: unknown[] } {
  const columns = table.columns.filter(({ name }) => name in rows[0]!);
  return {
    text: `INSERT INTO ${table.name} AS d (${columns.map(({ ident }) => ident).join(', ')})
      SELECT ${columns.map(({ type }, i) => `r.c${i}::${type}`).join(', ')}
      FROM jsonb_to_recordset($1) AS r (${columns.map((_, i) => `c${i} text`).join(', ')}) ${clause} RETURNING ${keyText(table)} AS key`,
    values: [JSON.stringify(rows.map((row) => Object.fromEntries(columns.map(({ name }, i) => [`c${i}`, row[name]]))))],
  };
}
