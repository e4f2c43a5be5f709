import type { Site } from '../support/site';
import type { Acknowledged } from './load';

const tables = ['entry', 'hot', 'account', 'team', 'player'];

/** A row's versions as its metadata has them, and the row if it stands. */
export interface State {
  readonly versions: readonly Version[];
  readonly token: string | null;
  readonly parked: boolean;
}

interface Version {
  readonly stamp: number;
  readonly origin: string;
  readonly past: Readonly<Record<string, number>> | null;
  readonly deleted: boolean;
}

/** All that a node shows and knows of the shared tables, in few bytes: two nodes with the same are the same. */
export async function fingerprint({ pool }: Site, forgets: boolean): Promise<string> {
  const { rows: tracked } = await pool.query<{ id: number; name: string }>(
    `SELECT id, name FROM p2p.tracked_table ORDER BY name`,
  );
  const parts = tracked.flatMap(({ id, name }) => [
    sumOf(`SELECT t.* FROM ${name} AS t`),
    // Where a sibling was made, not all know.
    sumOf(
      `SELECT key1, stamp, origin, priority, past, fields, ${siblings('meta.siblings')} AS siblings, deleted FROM p2p.meta_${id} AS meta
       ${forgets ? 'WHERE NOT (deleted AND siblings IS NULL)' : ''}`,
    ),
  ]);
  const parked = sumOf(`SELECT t.name, p.key FROM p2p.parked AS p JOIN p2p.tracked_table AS t ON t.id = p.table_id`);
  const { rows } = await pool.query<{ sum: string }>(`SELECT concat_ws(' ', ${[...parts, parked].join(', ')}) AS sum`);
  return rows[0]!.sum;
}

const siblings = (column: string): string => `(SELECT jsonb_agg(s - 'made') FROM jsonb_array_elements(${column}) AS s)`;

const sumOf = (query: string): string =>
  `(SELECT concat(count(*), ':', sum(hashtextextended(x::text, 0))) FROM (${query}) AS x)`;

/** What two nodes differ in, row by row, a few of them. */
export async function difference(one: Site, other: Site): Promise<string> {
  const lines: string[] = [];
  for (const table of tables) {
    const [ours, theirs] = [await statesOf(one, table), await statesOf(other, table)];
    for (const key of new Set([...ours.keys(), ...theirs.keys()])) {
      const [a, b] = [JSON.stringify(ours.get(key)), JSON.stringify(theirs.get(key))];
      if (a !== b) lines.push(`${table} ${key}\n  ${one.id}: ${a}\n  ${other.id}: ${b}`);
    }
  }
  return `${lines.length} rows differ\n${lines.slice(0, 5).join('\n')}`;
}

/** Acknowledged writes that the final state does not account for: as a row, covered by a later write, a sibling or parked. */
export async function unaccounted(site: Site, acknowledged: readonly Acknowledged[]): Promise<string[]> {
  const states = new Map<string, State>();
  for (const table of tables)
    for (const [key, state] of await statesOf(site, table)) states.set(`${table} ${key}`, state);
  return acknowledged.flatMap((write) => {
    const state = states.get(`${write.table} ${write.key}`);
    const fault = faultOf(write, state);
    return fault === null ? [] : [`${JSON.stringify(write)} ${fault}: ${JSON.stringify(state)}`];
  });
}

function faultOf(write: Acknowledged, state: State | undefined): string | null {
  if (!state) return 'is nowhere';
  if (!state.versions.some((version) => covers(version, write))) return 'is not covered';
  const [shown] = state.versions;
  const stands = shown!.stamp === write.stamp && shown!.origin === write.origin && !state.parked;
  return stands && state.token !== write.token ? 'shows another row' : null;
}

function covers(version: Version, { stamp, origin }: Acknowledged): boolean {
  if (version.origin === origin) return version.stamp >= stamp;
  return (version.past?.[origin] ?? -1) >= stamp;
}

async function statesOf({ pool }: Site, table: string): Promise<Map<string, State>> {
  const { rows: tracked } = await pool.query<{ id: number }>('SELECT id FROM p2p.tracked_table WHERE name = $1', [
    `public.${table}`,
  ]);
  const id = tracked[0]!.id;
  const { rows } = await pool.query<{
    key: string;
    own: Version;
    siblings: Version[] | null;
    token: string | null;
    parked: boolean;
  }>(
    `SELECT m.key1::text AS key, ${siblings('m.siblings')} AS siblings, d.token, p.key IS NOT NULL AS parked,
       json_build_object('stamp', m.stamp, 'origin', m.origin, 'past', m.past, 'deleted', m.deleted) AS own
     FROM p2p.meta_${id} AS m LEFT JOIN ${table} AS d ON d.id = m.key1
       LEFT JOIN p2p.parked AS p ON p.table_id = ${id} AND p.key = ARRAY[m.key1::text]
     ORDER BY 1`,
  );
  return new Map(
    rows.map(({ key, own, siblings, token, parked }) => [key, { versions: [own, ...(siblings ?? [])], token, parked }]),
  );
}
