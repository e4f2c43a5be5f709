import { splitOutsideQuotes, unquote } from './quoted-names';

/** How many of a row's last versions are kept with their images, the present one included; 0 is none. */
export interface MaxVersions {
  /** For every table that is not named. */
  readonly others: number;
  /** By `schema.table`. */
  readonly tables: ReadonlyMap<string, number>;
}

/** A write to a table with a history looks through what is kept of the row. */
export const mostVersions = 1000;

export const noVersions: MaxVersions = { others: 0, tables: new Map() };

export type MaxVersionsOutcome =
  | { readonly ok: true; readonly maxVersions: MaxVersions }
  | { readonly ok: false; readonly problems: readonly string[] };

/**
 * A setting's text: `5` for all tables, `table=20` for one, several between commas. A table without a schema is in `public`; a
 * name with a sign of the syntax in it is put into double quotes: `5, orders=20, "My Table"=0`.
 */
export function parseMaxVersions(text: string): MaxVersionsOutcome {
  const problems: string[] = [];
  const tables = new Map<string, number>();
  let others: number | null = null;
  for (const part of splitOutsideQuotes(text, ',')) {
    const entry = parseEntry(part.trim());
    if (typeof entry === 'string') {
      problems.push(entry);
      continue;
    }
    const before: number | null | undefined = entry.table === null ? others : tables.get(entry.table);
    if (before !== null && before !== undefined && before !== entry.count)
      problems.push(`${part.trim()}: told twice, in different ways.`);
    if (entry.table === null) others = entry.count;
    else tables.set(entry.table, entry.count);
  }
  return problems.length > 0 ? { ok: false, problems } : { ok: true, maxVersions: { others: others ?? 0, tables } };
}

export function maxVersionsOf({ others, tables }: MaxVersions, table: string): number {
  return tables.get(table) ?? others;
}

function parseEntry(part: string): { table: string | null; count: number } | string {
  if (part === '') return 'There is an empty entry: two commas, or one at an end.';
  if (part.split('"').length % 2 === 0) return `${part}: a double quote is not closed.`;
  const sides = splitOutsideQuotes(part, '=').map((side) => side.trim());
  const number = sides.at(-1)!;
  if (sides.length > 2) return `${part}: more than one "=". Put a name that contains one into double quotes.`;
  if (!/^\d{1,9}$/.test(number) || Number(number) > mostVersions)
    return `${part}: "${number}" is not a whole number from 0 to ${mostVersions}.`;
  if (sides.length === 1) return { table: null, count: Number(number) };
  const table = unquote(sides[0]!);
  if (table === null || table === '')
    return `${part}: "${sides[0]}" is not a table's name. Put names with signs into double quotes.`;
  return { table: table.includes('.') ? table : `public.${table}`, count: Number(number) };
}
