import type { PoolClient } from 'pg';
import { Random } from '../convergence/random';
import type { TestDatabase } from '../support/database';
import { History, type Row } from './engine-history';
import { pull, Site, tables } from './engine-site';
import type { Engine } from './planted-engine';

const ids = ['a', 'b', 'c'] as const;
const keys = ['k1', 'k2', 'k3', 'k4'];

/** Ends the scenario: what the engine did wrong. */
class Wrong extends Error {}

/**
 * Three nodes in a line or a ring, without a network around them, and what people do to them: a round for each seed, held against a
 * history that knows every write. Returns what was found wrong, null when nothing was.
 * @param databases three, which are emptied first
 */
export async function playEngine(
  engine: Engine,
  seeds: readonly number[],
  databases: readonly TestDatabase[],
): Promise<string | null> {
  const sites: Site[] = [];
  let playing = 'the start';
  try {
    const started = await Promise.allSettled(ids.map((id, i) => Site.start(engine, id, databases[i]!)));
    for (const one of started) if (one.status === 'fulfilled') sites.push(one.value);
    for (const one of started) if (one.status === 'rejected') throw one.reason;
    const history = new History(ids);
    for (const seed of seeds) {
      playing = `seed ${seed}`;
      await new Scenario(new Random(seed), sites, history).round();
    }
    return null;
  } catch (error) {
    return `${playing}: ${error instanceof Wrong ? error.message : `it failed: ${(error as Error).message}`}`;
  } finally {
    await Promise.all(sites.map((site) => site[Symbol.asyncDispose]()));
  }
}

class Scenario {
  private readonly links: readonly (readonly [Site, Site])[];

  constructor(
    private readonly random: Random,
    private readonly sites: readonly Site[],
    private readonly history: History,
  ) {
    const [a, b, c] = sites as [Site, Site, Site];
    const line = [[a, b] as const, [b, a] as const, [b, c] as const, [c, b] as const];
    this.links = random.chance(0.6) ? line : [...line, [a, c], [c, a]];
  }

  async round(): Promise<void> {
    await this.setClocks();
    for (let step = this.random.between(10, 20); step > 0; step--) await this.step();
    // To rest once with transactions open everywhere, and once without.
    for (const site of this.sites) await this.openOne(site);
    for (const site of this.sites) await this.write(site);
    await this.settle();
    for (const site of this.sites) while (site.open.length > 0) await this.commitOne(site);
    await this.settle();
    for (const site of this.sites) await this.compare(site);
    if (!this.history.isShared())
      throw new Error('The scenario is wrong: at rest, not everybody has received everything');
  }

  private async step(): Promise<void> {
    const site = this.random.pick(this.sites);
    const what = this.random.between(1, 20);
    if (what <= 8) await this.write(site);
    else if (what <= 10) await this.late(site);
    else if (what === 11) await this.openOne(site);
    else if (what === 12) await this.commitOne(site);
    else if (what === 13) await this.lent(site);
    else if (what === 14) await this.pair();
    else if (what <= 17) await this.relay();
    else await this.exchange(...this.random.pick(this.links));
  }

  /** Clocks that differ, are set back, or show the same time for a while. */
  private async setClocks(): Promise<void> {
    const frozen = this.random.chance(0.4);
    const instant = Date.now() * 1000;
    for (const { sql } of this.sites) {
      const by = this.random.between(-3, 3) * 1_000_000;
      await sql('UPDATE public.shift SET by = $1, frozen = $2', [by, frozen ? instant : null]);
    }
  }

  private async write(site: Site): Promise<void> {
    const statements = this.random.times(1, this.random.chance(0.3) ? 2 : 1, () => this.statement(site));
    await this.noted(site, async () => this.finish(await site.begin(), statements), {
      backAndForth: statements.length > 1,
    });
  }

  /** A transaction that begins, and writes when others have written and committed. */
  private async late(site: Site): Promise<void> {
    const client = await site.begin();
    try {
      await this.write(site);
    } catch (error) {
      client.release(true);
      throw error;
    }
    const fresh = `late ${this.history.next()}`;
    const insert = `INSERT INTO ${this.random.pick(tables)} VALUES ('${fresh}', 1.0, '${fresh}')`;
    await this.noted(site, () => this.finish(client, [insert, this.statement(site)]), { backAndForth: true });
  }

  /** A transaction that has written, rows of its own, and stays open. */
  private async openOne(site: Site): Promise<void> {
    const client = await site.begin();
    site.open.push(client);
    const fresh = `open ${this.history.next()}`;
    await client.query(`INSERT INTO ${this.random.pick(tables)} VALUES ('${fresh}', 1.0, '${fresh}')`);
  }

  private async commitOne(site: Site): Promise<void> {
    if (site.open.length === 0) return;
    const [client] = site.open.splice(this.random.between(0, site.open.length - 1), 1);
    await this.noted(site, () => this.finish(client!, []), { notBefore: 0 });
  }

  private async lent(site: Site): Promise<void> {
    const fresh = `lent ${this.history.next()}`;
    await this.noted(site, () =>
      site.lent((client) =>
        client.query(`INSERT INTO public.${this.random.pick(tables)} VALUES ('${fresh}', 1.0, '${fresh}')`),
      ),
    );
  }

  /** Two rows that only node a writes, and only together. */
  private async pair(): Promise<void> {
    const client = await this.sites[0]!.begin();
    await this.finish(client, ['UPDATE pair_a SET n = n + 1', 'UPDATE pair_b SET n = n + 1']);
  }

  private async finish(client: PoolClient, statements: readonly string[]): Promise<void> {
    let broken = true;
    try {
      for (const statement of statements) await client.query(statement);
      await client.query('COMMIT');
      broken = false;
    } finally {
      client.release(broken);
    }
  }

  private statement(site: Site): string {
    const { random } = this;
    const table = random.pick(tables);
    const [key, other] = [random.pick(keys), random.pick(keys)];
    const note = `of ${site.id} ${this.history.next()}`;
    const put = `INSERT INTO ${table} VALUES ('${key}', 1.0, '${note}') ON CONFLICT (id) DO UPDATE SET note = excluded.note`;
    switch (random.between(1, 14)) {
      case 1:
      case 2:
        return `DELETE FROM ${table} WHERE id = '${key}'`;
      case 3:
        return `UPDATE ${table} SET note = note`;
      case 4:
        return `UPDATE ${table} SET n = CASE n::text WHEN '1.0' THEN 1.00 ELSE 1.0 END WHERE id <= '${key}'`;
      case 5:
        return `UPDATE ${table} SET note = '${note}'`;
      case 6:
      case 7:
        return `UPDATE ${table} SET id = '${other}', note = '${note}'
          WHERE id = '${key}' AND NOT EXISTS (SELECT FROM ${table} WHERE id = '${other}' AND id <> '${key}')`;
      case 8:
        return site.open.length > 0 ? put : `TRUNCATE ${table}`;
      default:
        return put;
    }
  }

  /**
   * Runs work that ends in a commit, and notes what rows it changed. Rows that are as they were must keep their versions, unless
   * they may have been changed back and forth.
   */
  private async noted(
    site: Site,
    work: () => Promise<unknown>,
    { notBefore, backAndForth = false }: { notBefore?: number; backAndForth?: boolean } = {},
  ): Promise<void> {
    const before = await site.view();
    const begun = notBefore ?? (await site.now());
    await work();
    const after = await site.view();
    for (const key of new Set([...before.rows.keys(), ...after.rows.keys(), ...after.names.keys()])) {
      const [was, is] = [before.names.get(key), after.names.get(key)];
      const named = is !== undefined && JSON.stringify(is) !== JSON.stringify(was);
      if (before.rows.get(key) === after.rows.get(key) && !(named && backAndForth)) {
        if (named) throw new Wrong(`${key} on ${site.id} was not changed and has a new version`);
        continue;
      }
      if (!named) throw new Wrong(`${key} was written on ${site.id} and has no version for it`);
      if (is.siblings > 0) throw new Wrong(`${key} was written on ${site.id}, and its siblings are still there`);
      const row = JSON.parse(after.rows.get(key) ?? 'null') as Row;
      const wrong = this.history.wrote(site.id, key, row, is, begun);
      if (wrong !== null) throw new Wrong(wrong);
    }
  }

  /** Changes that go from hand to hand, in several transactions. */
  private async relay(): Promise<void> {
    const [from, by] = this.random.pick(this.links);
    const [, to] = this.random.pick(this.links.filter(([next]) => next === by));
    const both = `both ${this.history.next()}`;
    for (const site of [from, by]) await this.insert(site, both);
    for (let i = 0; i < 2; i++) {
      await this.late(from);
      await this.exchange(from, by);
    }
    await this.exchange(by, to);
  }

  private async insert(site: Site, id: string): Promise<void> {
    const insert = `INSERT INTO l VALUES ('${id}', 1.0, 'of ${site.id} ${this.history.next()}')`;
    await this.noted(site, async () => this.finish(await site.begin(), [insert]));
  }

  private async exchange(from: Site, to: Site): Promise<void> {
    const limit = this.random.chance(0.5) ? this.random.between(1, 4) : 1000;
    if (this.random.chance(0.15) && to.open.length === 0) await this.refused(from, to, limit);
    await this.pull(from, to, limit);
    await this.compare(to);
    const [pair] = await to.sql<{ one: number | null; other: number | null }>(
      'SELECT (SELECT n FROM pair_a) AS one, (SELECT n FROM pair_b) AS other',
    );
    if (pair!.one !== pair!.other) throw new Wrong(`${to.id} has half of a transaction of a: ${JSON.stringify(pair)}`);
  }

  /** What the source has by the last window's snapshot is what the reader has then. */
  private async pull(from: Site, to: Site, limit: number): Promise<number> {
    let holdings = this.history.holdings(from.id);
    const opened = () => void (holdings = this.history.holdings(from.id));
    const interlude = async () => {
      if (!this.random.chance(0.4)) return;
      const fresh = `between ${this.history.next()}`;
      const insert = `INSERT INTO l VALUES ('${fresh}', 1.0, '${fresh}')`;
      await this.noted(from, async () => this.finish(await from.begin(), [insert]));
      if (from.id === 'a') await this.pair();
    };
    const rows = await pull(from, to, limit, opened, interlude);
    this.history.received(to.id, holdings);
    return rows;
  }

  /** A window in whose middle the database fails leaves everything as it was. */
  private async refused(from: Site, to: Site, limit: number): Promise<void> {
    const [latest] = await from.sql<{ note: string }>(
      `SELECT note FROM l ORDER BY right('000000' || substring(note from '[0-9]+$'), 6) DESC LIMIT 1`,
    );
    await to.sql(`CREATE FUNCTION public.fails() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.note = '${latest?.note ?? ''}' THEN RAISE 'the disk is full' USING ERRCODE = '53100'; END IF; RETURN NEW; END $$;
      CREATE TRIGGER fails BEFORE INSERT OR UPDATE ON l FOR EACH ROW EXECUTE FUNCTION public.fails(); ALTER TABLE l ENABLE ALWAYS TRIGGER fails`);
    try {
      await pull(from, to, limit);
      // Nothing was in its way.
      this.history.received(to.id, this.history.holdings(from.id));
    } catch (error) {
      if (!(error as Error).message.includes('the disk is full')) throw error;
    } finally {
      await to.sql('DROP FUNCTION public.fails CASCADE');
    }
  }

  /** Everybody reads from everybody until nothing travels any more. */
  private async settle(): Promise<void> {
    for (let round = 0; round < 6; round++) {
      let rows = 0;
      for (const [from, to] of this.links) {
        const holdings = this.history.holdings(from.id);
        rows += await pull(from, to, 1000);
        this.history.received(to.id, holdings);
      }
      if (rows === 0) return;
    }
    throw new Wrong('The nodes are at rest and rows go on travelling');
  }

  /**
   * At rest or not, a node has every version of what it received that no other of them covers, and nothing else; and it shows the
   * one that the rule says.
   */
  private async compare(site: Site): Promise<void> {
    const found = await site.versions();
    const held = this.history.versions(site.id);
    for (const [key, expected] of held) {
      const { all, visible } = found.get(key) ?? { all: [], visible: undefined };
      const standing = key.startsWith('f/') ? expected[0] : expected.at(-1);
      const [wanted, is] = [canonical({ all: expected, visible: standing }), canonical({ all, visible })];
      if (wanted !== is) throw new Wrong(`${key} on ${site.id} should be\n${wanted}\nand is\n${is}`);
    }
    const strange = [...found.keys()].filter((key) => !held.has(key));
    if (strange.length > 0)
      throw new Wrong(`${site.id} has versions of rows that never reached it: ${strange.join(', ')}`);
  }
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    part !== null && typeof part === 'object' && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([one], [other]) => (one < other ? -1 : 1)))
      : part,
  );
}
