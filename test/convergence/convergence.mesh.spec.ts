import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { brokenReferences, contents, differences, lost, torn } from './comparison';
import { fill, separateKeys, type Tally, write } from './load';
import { readModel } from './model';
import { Site } from '../support/site';

/** `PGMESH_SEED` repeats a run's choices; `PGMESH_SOAK_SECONDS` goes on for longer, with a round of failures every 15 s. */
const seed = Number(process.env.PGMESH_SEED ?? Date.now() % 1_000_000);
const seconds = Number(process.env.PGMESH_SOAK_SECONDS ?? 12);
const writers = 3;
const schema = ['schema.sql', 'ledger.sql'].map((file) => readFileSync(join(__dirname, file), 'utf8')).join('');

it(
  `two databases that are written to all the time become the same, whatever is killed (seed ${seed})`,
  async () => {
    await using a = await Site.start('a', schema);
    await using b = await Site.start('b', schema);
    const sites = [a, b] as const;
    const model = await readModel(a.pool);
    expect(model.tables.size).toBeGreaterThan(30);
    await Promise.all(sites.map((site) => separateKeys(site)));
    await Promise.all(sites.map((site) => fill(site, model, seed)));
    await Promise.all([a.startNode([b.url]), b.startNode([a.url])]);

    // Load.
    const stop = new AbortController();
    const tallies = sites.map((): Tally => ({ committed: 0, refused: new Map(), inserted: [] }));
    const load = Promise.all(
      sites.flatMap((site, s) =>
        Array.from({ length: writers }, (_, w) =>
          write(site, model, seed + 10 * s + 100 * (w + 1), stop.signal, tallies[s]!),
        ),
      ),
    );
    load.catch(() => stop.abort());

    // Failures.
    for (let at = 0; at < seconds && !stop.signal.aborted; at += 15) {
      const moment = (Math.min(15, seconds - at) * 1000) / 10;
      await sleep(moment * 2);
      await a.killNode();
      await sleep(moment);
      await a.startNode([b.url]);
      await sleep(moment);
      await b.killNode();
      await sleep(moment);
      await b.startNode([a.url]);
      await sleep(moment);
      await b.crashServer(moment / 2);
      await sleep(moment * 2);
      await Promise.all([a.killNode(), b.killNode()]);
      await sleep(moment / 2);
      await Promise.all([a.startNode([b.url]), b.startNode([a.url])]);
      await sleep(moment);
    }
    stop.abort();
    await load;

    // Rest.
    await settled(sites);
    const [ours, theirs] = [await contents(a, model), await contents(b, model)];
    const conflicts = (await a.status()).conflicts_resolved + (await b.status()).conflicts_resolved;
    const rows = [...ours.values()].reduce((sum, table) => sum + Object.keys(table.rows).length, 0);
    report({
      seed,
      rows,
      conflicts,
      ...tallies.map(({ committed, refused }) => ({ committed, ...Object.fromEntries(refused) })),
    });
    expect(differences(ours, theirs)).toEqual([]);
    expect([...torn(ours), ...torn(theirs)]).toEqual([]);
    expect(await lost(sites, ours)).toEqual([]);
    expect([...(await brokenReferences(a, model)), ...(await brokenReferences(b, model))]).toEqual([]);
    for (const [s, site] of sites.entries()) expect(await unbooked(site, tallies[s]!)).toEqual([]);
    expect(conflicts).toBeGreaterThan(0);

    // At rest no row travels (property P4).
    const before = await exchanged(sites);
    await sleep(3000);
    expect(await exchanged(sites)).toEqual(before);
  },
  (seconds * 8 + 150) * 1000,
);

const report = (line: object): boolean => process.stderr.write(`convergence: ${JSON.stringify(line)}\n`);

/** Waits until both nodes say for longer than their interval that nothing is left to do. Nobody asks them to do it. */
async function settled(sites: readonly Site[]): Promise<void> {
  const end = Date.now() + (60 + 2 * seconds) * 1000;
  for (let quiet = 0; quiet < 5;) {
    const statuses = await Promise.all(sites.map((site) => site.status()));
    const peers = statuses.flatMap((status) => status.peers);
    const idle = statuses.every(({ sync_running }) => !sync_running);
    quiet =
      idle && peers.every(({ state, lag_ms, copying }) => state === 'live' && lag_ms === 0 && !copying) ? quiet + 1 : 0;
    if (Date.now() > end) {
      const logs = sites.map((site) => site.said()).join('\n---\n');
      const latest = (await Promise.all(sites.map((site) => site.exchanges()))).flat().join('\n');
      throw new Error(`The nodes do not come to rest: ${JSON.stringify(peers, null, 1)}\n${latest}\n${logs}`);
    }
    await sleep(300);
  }
}

/** Insertions that a writer was told to be committed and that its site's ledger does not have. */
async function unbooked(site: Site, { inserted }: Tally): Promise<string[]> {
  const { rows } = await site.pool.query<{ line: string }>(
    `SELECT i->>'table' || ' ' || (i->>'key') AS line FROM jsonb_array_elements($1::jsonb) AS i
     WHERE NOT EXISTS (SELECT FROM test.ledger AS l WHERE l.name = i->>'table' AND l.key = i->>'key' AND l.live)`,
    [JSON.stringify(inserted)],
  );
  return rows.map(({ line }) => line);
}

/** What the nodes have written of their exchanges, and the newest change of each shared table. */
async function exchanged(sites: readonly Site[]): Promise<unknown[]> {
  return Promise.all(
    sites.map(async ({ pool }) => {
      const { rows: tables } = await pool.query<{ id: number }>('SELECT id FROM p2p.tracked_table ORDER BY id');
      const newest = tables.map(({ id }) => `(SELECT max(xid::text::int8) FROM p2p.meta_${id})`).join(', ');
      const { rows } = await pool.query(
        `SELECT greatest(${newest}) AS newest, (SELECT coalesce(sum(rows), 0) FROM p2p.sync_history) AS rows`,
      );
      return rows[0] as unknown;
    }),
  );
}
