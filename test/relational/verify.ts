import { decide, entrant } from './rule';
import { completed, keyOf, type Schema, type Table, tableOf } from './schema';
import type { Site, Written } from './site';
import { type Kept, keyText, keyTextIn, type NodeState, readState, versionsOf } from './state';

/** What is wrong with nodes that have exchanged everything; the first few findings of each kind. */
export async function verifyTogether(
  sites: readonly Site[],
  schema: Schema,
  acknowledged: readonly Written[],
): Promise<string[]> {
  const states = await Promise.all(sites.map((site) => readState(site, schema)));
  const found = sites.flatMap((site, i) => verifyRule(site.id, schema, states[i]!));
  found.push(...differences(schema, sites, states), ...unaccounted(schema, states[0]!, acknowledged));
  found.push(...(await Promise.all(sites.map((site) => invalid(site)))).flat());
  return found;
}

/** Whether what a node shows, and what it has parked, is what the rule makes of its versions. */
export function verifyRule(id: string, schema: Schema, { tables, parked }: NodeState): string[] {
  const found: string[] = [];
  const entrants = schema.tables.flatMap((table) =>
    tables.get(table.name)!.flatMap((kept) => {
      const key = kept.meta ? keyText(table, kept.meta.key) : keyOf(table, kept.row!);
      const one = `${id}: ${table.name} ${key}`;
      if (kept.meta === null) return (found.push(`${one}: a row without metadata`), []);
      if (kept.meta.deleted !== (kept.row === null))
        found.push(`${one}: metadata says deleted=${kept.meta.deleted}, the row is ${JSON.stringify(kept.row)}`);
      if (kept.row && table.key.some((name, i) => kept.row![name] !== kept.meta!.key[i]))
        found.push(
          `${one}: metadata has the key ${JSON.stringify(kept.meta.key)} of the row ${JSON.stringify(kept.row)}`,
        );
      return entrant(table, key, versionsOf(kept)) ?? [];
    }),
  );
  const verdict = decide(schema, entrants);
  const place = ({ table, key }: { table: string; key: string }) => `${table} ${key}`;
  const shown = new Map(
    schema.tables.flatMap((table) =>
      tables
        .get(table.name)!
        .flatMap(({ row }) => (row ? [[place({ table: table.name, key: keyOf(table, row) }), row] as const] : [])),
    ),
  );
  for (const one of verdict.standing) {
    const row = shown.get(place(one));
    if (!row) found.push(`${id}: ${place(one)} stands by the rule, and is not there: ${JSON.stringify(one.row)}`);
    else if (!sameRow(row, one.row))
      found.push(`${id}: ${place(one)} is ${JSON.stringify(row)}, and by the rule ${JSON.stringify(one.row)}`);
    shown.delete(place(one));
  }
  for (const [where, row] of shown)
    found.push(`${id}: ${where} is there, and does not stand by the rule: ${JSON.stringify(row)}`);
  const records = new Map(
    parked.map((record) => [
      `${record.table.replace(/^public\./, '')} ${keyTextIn(schema, record.table, record.key)}`,
      record,
    ]),
  );
  for (const one of verdict.parked) {
    const record = records.get(place(one));
    records.delete(place(one));
    if (!record) found.push(`${id}: ${place(one)} is parked by the rule (${one.reason}), and there is no record`);
    else if (
      record.reason !== one.reason ||
      record.stamp !== one.stamp ||
      record.origin !== one.origin ||
      !sameRow(completed(tableOf(schema, one.table), record.image), one.row)
    )
      found.push(`${id}: ${place(one)} is parked as ${JSON.stringify(record)}, by the rule as ${JSON.stringify(one)}`);
  }
  for (const where of records.keys())
    found.push(`${id}: ${where} has a record of being parked, and by the rule is not`);
  return found;
}

function sameRow(a: Readonly<Record<string, string | null>>, b: Readonly<Record<string, string | null>>): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

function differences(schema: Schema, sites: readonly Site[], states: readonly NodeState[]): string[] {
  const [first, ...rest] = states;
  return rest.flatMap((other, i) => {
    const name = `${sites[0]!.id} and ${sites[i + 1]!.id}`;
    const inTables = schema.tables.flatMap((table) => {
      const [ours, theirs] = [first!, other].map(({ tables }) =>
        tables.get(table.name)!.map((kept) => comparable(table, kept)),
      );
      return listDifferences(`${name}: ${table.name}`, ours!, theirs!);
    });
    return [...inTables, ...listDifferences(`${name}: parked`, first!.parked, other.parked)];
  });
}

/** Of equal keys that are written in two ways, as 1.0 and 1.00, a deletion has none: its metadata has one that somebody has written. */
function comparable(table: Table, kept: Kept): unknown {
  const { meta } = kept;
  if (
    meta === null ||
    versionsOf(kept).some((one) => one.image && one.stamp === meta.stamp && one.origin === meta.origin)
  )
    return kept;
  return { meta: { ...meta, key: keyText(table, meta.key) } };
}

function listDifferences(name: string, ours: readonly unknown[], theirs: readonly unknown[]): string[] {
  const [a, b] = [ours, theirs].map((all) => all.map((one) => JSON.stringify(one)));
  const only = (one: string[], other: string[]) => one.filter((line) => !other.includes(line));
  const [inA, inB] = [only(a!, b!), only(b!, a!)];
  return inA.length + inB.length === 0
    ? []
    : [`${name} differ:\n    ${inA.join('\n    ')}\n  and\n    ${inB.join('\n    ')}`];
}

/** Writes that no version stands for: neither they themselves nor one that has seen them. */
function unaccounted(schema: Schema, { tables }: NodeState, acknowledged: readonly Written[]): string[] {
  return acknowledged.flatMap((write) => {
    const table = schema.tables.find(({ name }) => name === write.table)!;
    const key = keyText(table, write.key);
    const kept = tables.get(write.table)!.find(({ meta }) => meta && keyText(table, meta.key) === key);
    const versions = kept ? versionsOf(kept) : [];
    const covered = versions.some(({ stamp, origin, past }) =>
      origin === write.origin ? stamp >= write.stamp : (past?.[write.origin] ?? -1) >= write.stamp,
    );
    return covered
      ? []
      : [
          `${write.table} ${key}: the write ${write.stamp} by ${write.origin} is nowhere; there are ${JSON.stringify(versions)}`,
        ];
  });
}

/** Constraints that PostgreSQL itself finds violated when it makes them anew; again where it met the store's own upkeep. */
async function invalid(site: Site, tries = 3): Promise<string[]> {
  const client = await site.db.pool.connect();
  try {
    await client.query('BEGIN');
    await client.query(again);
    return [];
  } catch (error) {
    const { code, message, detail = '' } = error as Error & { code?: string; detail?: string };
    if (code !== '40P01' || tries === 1) return [`${site.id}: ${message} ${detail}`];
  } finally {
    await client.query('ROLLBACK');
    client.release();
  }
  return invalid(site, tries - 1);
}

const again = `DO $$ DECLARE c record; BEGIN
  FOR c IN SELECT conrelid::regclass AS relation, conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint
    WHERE contype IN ('c', 'f') AND connamespace = 'public'::regnamespace AND conrelid <> 0 AND conparentid = 0 AND coninhcount = 0 LOOP
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I %s', c.relation, c.conname, c.conname, c.definition);
  END LOOP;
  FOR c IN SELECT indexrelid::regclass AS index FROM pg_index AS x JOIN pg_class AS t ON t.oid = x.indrelid
    WHERE t.relnamespace = 'public'::regnamespace AND t.relkind = 'r' LOOP
    EXECUTE format('REINDEX INDEX %s', c.index);
  END LOOP;
END $$`;
