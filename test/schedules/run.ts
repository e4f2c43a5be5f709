import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../convergence/random';
import { readTopology } from '../support/mesh-node';
import { Proxy } from '../support/proxy';
import { type Backup, Site } from '../support/site';
import { type Acknowledged, Writer } from './load';
import { type Id, ids, type Schedule, type Trouble } from './schedule';
import { difference, fingerprint, unaccounted } from './verify';

const schema = readFileSync(join(__dirname, 'schema.sql'), 'utf8');
const writersPerSite = 2;
/** Within which the nodes must have become the same once nothing befalls them any more, in ms. */
const patience = 180_000;

/** What a schedule ended in. */
export interface Outcome {
  readonly seed: number;
  readonly acknowledged: number;
  readonly seconds: number;
  /** What was wrong; empty when nothing was. */
  readonly problems: readonly string[];
}

/** Five database servers with a node each, that go from schedule to schedule. */
export class Theatre implements AsyncDisposable {
  private constructor(private readonly sites: ReadonlyMap<Id, Site<Id>>) {}

  static async open(): Promise<Theatre> {
    const sites = await Promise.all(ids.map((id) => Site.start(id, schema)));
    return new Theatre(new Map(sites.map((site) => [site.id, site])));
  }

  async play(schedule: Schedule): Promise<Outcome> {
    const began = performance.now();
    const scene = new Scene(schedule, this.sites);
    const problems: string[] = [];
    try {
      await scene.begin();
      await scene.act();
      problems.push(...(await scene.end()));
    } catch (error) {
      problems.push((error as Error).stack ?? String(error), ...[...this.sites.values()].map((site) => site.said()));
    } finally {
      await scene[Symbol.asyncDispose]();
    }
    const seconds = Math.round((performance.now() - began) / 1000);
    return { seed: schedule.seed, acknowledged: scene.acknowledged.length, seconds, problems };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.sites.values()].map((site) => site[Symbol.asyncDispose]()));
  }
}

/** One schedule on its way. */
class Scene implements AsyncDisposable {
  private readonly links = new Map<string, Proxy>();
  private readonly backups = new Map<Id, Backup>();
  private readonly restored: { readonly site: Id; readonly from: number; readonly to: number }[] = [];
  /** What befalls one site at a time: a server that is restored cannot be killed. */
  private readonly turns = new Map<Id, Promise<void>>();
  private writers: Writer[] = [];

  constructor(
    private readonly schedule: Schedule,
    private readonly sites: ReadonlyMap<Id, Site<Id>>,
  ) {}

  get acknowledged(): readonly Acknowledged[] {
    return this.writers.flatMap(({ acknowledged }) => acknowledged);
  }

  async begin(): Promise<void> {
    const all = [...this.sites.values()];
    await Promise.all(all.map((site) => site.renew(schema)));
    for (const [from, to] of readTopology(this.schedule.topology))
      this.links.set(`${from} -> ${to}`, await Proxy.to(this.site(to).port));
    await Promise.all(all.map((site) => this.startNode(site)));
    for (const { trouble } of this.schedule.troubles) {
      if (trouble.what !== 'restore' || this.backups.has(trouble.server)) continue;
      this.backups.set(trouble.server, await this.site(trouble.server).backUp());
    }
  }

  /** The load, and the troubles at their times. */
  async act(): Promise<void> {
    const stop = new AbortController();
    this.writers = [...this.sites.values()].flatMap((site, s) =>
      Array.from(
        { length: writersPerSite },
        (_, w) => new Writer(site, `${site.id}${w}`, new Random(this.schedule.seed * 100 + 10 * s + w)),
      ),
    );
    const load = Promise.all(this.writers.map((writer) => writer.run(stop.signal)));
    load.catch(() => stop.abort());
    const troubles = this.schedule.troubles.map(async ({ at, trouble }) => {
      await sleep(at);
      await this.befall(trouble);
    });
    try {
      await Promise.all([sleep(this.schedule.ms), ...troubles]);
    } finally {
      stop.abort();
    }
    await load;
  }

  /** All links are whole, all nodes run: what is wrong once they are the same, or when they do not become so. */
  async end(): Promise<string[]> {
    const all = [...this.sites.values()];
    const until = Date.now() + patience;
    for (;;) {
      const prints = await Promise.all(all.map((site) => fingerprint(site, this.schedule.forgets)));
      if (new Set(prints).size === 1) break;
      if (Date.now() > until) return [await this.different(all, prints)];
      await sleep(200);
    }
    const excused = ({ site, at, table, key }: Acknowledged): boolean =>
      this.restored.some((one) => one.site === site && at >= one.from && at <= one.to) ||
      (this.schedule.forgets && this.mayBeForgotten(table, key));
    return unaccounted(
      all[0]!,
      this.acknowledged.filter((write) => !excused(write)),
    );
  }

  /** Whether somebody has tried to delete the row: that may have been done, and forgotten. Players go with their teams. */
  private mayBeForgotten(table: string, key: string): boolean {
    return table === 'player' || this.writers.some(({ deleted }) => deleted.has(`${table} ${key}`));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const site of this.sites.values()) {
      site.resumeServer();
      site.resumeNode();
    }
    await Promise.all([...this.sites.values()].map((site) => site.killNode()));
    await Promise.all([...this.links.values()].map((link) => link[Symbol.asyncDispose]()));
  }

  private site(id: string): Site<Id> {
    return this.sites.get(id as Id)!;
  }

  private startNode(site: Site<Id>): Promise<void> {
    const dialled = [...this.links].filter(([name]) => name.startsWith(`${site.id} ->`));
    return site.startNode(
      dialled.map(([, { url }]) => url),
      ['--timeout', '3s', '--collect', this.schedule.forgets ? '500ms' : 'off'],
    );
  }

  private async befall(trouble: Trouble): Promise<void> {
    if ('link' in trouble) return this.disturb(this.links.get(trouble.link)!, trouble);
    const id = 'node' in trouble ? trouble.node : trouble.server;
    const turn = (this.turns.get(id) ?? Promise.resolve()).then(() => this.strike(this.site(id), trouble));
    this.turns.set(id, turn);
    return turn;
  }

  private async disturb(link: Proxy, trouble: Trouble & { readonly link: string }): Promise<void> {
    switch (trouble.what) {
      case 'cut':
        link.close();
        break;
      case 'silence':
        link.silence();
        break;
      case 'delay':
        link.delay = trouble.by;
        break;
      case 'throttle':
        link.rate = trouble.rate;
        break;
      case 'truncate':
        return link.cutAfter(trouble.after);
      case 'repeat':
        return link.repeat();
    }
    await sleep(trouble.ms);
    link.delay = 0;
    link.rate = Infinity;
    link.open();
  }

  private async strike(site: Site<Id>, trouble: Exclude<Trouble, { readonly link: string }>): Promise<void> {
    switch (trouble.what) {
      case 'kill':
        await site.killNode();
        await sleep(trouble.ms);
        return this.startNode(site);
      case 'pause':
        site.pauseNode();
        await sleep(trouble.ms);
        return site.resumeNode();
      case 'stall':
        site.pauseServer();
        await sleep(trouble.ms);
        return site.resumeServer();
      case 'crash':
        return site.crashServer(trouble.ms);
      case 'restore': {
        const backup = this.backups.get(site.id)!;
        await site.killNode();
        await site.restore(backup, trouble.recovery);
        this.restored.push({ site: site.id, from: backup.takenAt.getTime() - 1, to: Date.now() });
        await sleep(trouble.ms);
        return this.startNode(site);
      }
    }
  }

  private async different(all: readonly Site[], prints: readonly string[]): Promise<string> {
    const other = prints.findIndex((print) => print !== prints[0]);
    const statuses = await Promise.all(all.map(async (site) => `${site.id}: ${JSON.stringify(await site.status())}`));
    const said = all.map((site) => `${site.id} said: ${site.said()}`);
    return [await difference(all[0]!, all[other]!), ...statuses, ...said].join('\n');
  }
}
