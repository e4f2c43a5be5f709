import { setTimeout } from 'node:timers/promises';
import { Random } from '../convergence/random';
import { pull } from '../support/store-node';
import { generateHistory, type Step } from './history';
import { ruledBy, type Schema } from './schema';
import { generateSchema } from './schema-generator';
import { type Engine, Site, type Written } from './site';
import { readState } from './state';
import { verifyRule, verifyTogether } from './verify';

/** Histories that share one schema: making tables takes longer than a history does. */
const perSchema = 8;
/** Rounds after which nodes that still have something to tell each other are found wanting. */
const rounds = 12;

/** Three nodes that go from history to history. */
export class World implements AsyncDisposable {
  private seed: number | null = null;
  private schema: Schema | null = null;

  /** @param patience milliseconds to wait for what a node does by itself */
  private constructor(
    private readonly sites: readonly Site[],
    private readonly patience: number,
  ) {}

  static async create(engine?: Engine, patience = 120_000): Promise<World> {
    return new World(await Promise.all(['a', 'b', 'c'].map((id) => Site.create(id, engine))), patience);
  }

  /** What is wrong after the history of a seed; null when nothing is. */
  async tryOut(seed: number): Promise<Failure | null> {
    const schema = await this.schemaOf(seed);
    const steps = generateHistory(new Random(seed * 7919 + 1), schema);
    const problems = await this.play(schema, steps);
    return problems.length > 0 ? { seed, schema, steps, problems } : null;
  }

  async schemaOf(seed: number): Promise<Schema> {
    const of = Math.floor(seed / perSchema);
    if (this.schema === null || this.seed !== of) await this.makeTables(generateSchema(new Random(of)));
    this.seed = of;
    return this.schema!;
  }

  /** Unless they are there. */
  async makeTables(schema: Schema): Promise<void> {
    if (this.schema === schema) return;
    this.schema = null;
    this.seed = null;
    await Promise.all(this.sites.map((site, place) => site.take(schema, place)));
    this.schema = schema;
  }

  /** Plays the steps from nothing, brings the nodes together, and says what is wrong then, or on the way. */
  async play(schema: Schema, steps: readonly Step[]): Promise<string[]> {
    const { sites } = this;
    await Promise.all(sites.map((site) => site.clear(schema)));
    const acknowledged: Written[] = [];
    try {
      for (const step of steps) {
        const problems = await this.take(step, acknowledged);
        if (problems.length > 0) return problems.map((problem) => `${problem} (after ${JSON.stringify(step)})`);
      }
      const last = steps.reduce((ruled, step) => (step.do === 'rule' ? ruledBy(ruled, step.change) : ruled), schema);
      for (const site of sites) await site.follow(last);
      await this.heal();
      const problems = await this.verify(last, acknowledged);
      return [...problems, ...sites.flatMap(({ id, errors }) => errors.map((error) => `${id}: ${error.stack}`))];
    } catch (error) {
      return [`${(error as Error).stack} ${JSON.stringify(error)}`];
    }
  }

  private async take(step: Step, acknowledged: Written[]): Promise<string[]> {
    const { sites } = this;
    switch (step.do) {
      case 'write':
        acknowledged.push(...(await sites[step.node]!.write(step.statements)));
        return [];
      case 'pull':
        await pull(sites[step.from]!, sites[step.to]!, step.limit, step.windows);
        return [];
      case 'decide':
        await sites[step.node]!.decide(step.nth, step.n);
        return [];
      case 'rule':
        await sites[step.node]!.change(step.change);
        return [];
      case 'settle':
        await sites[step.node]!.store.settleParked();
        return [];
      case 'wait':
        return this.waitForRule(sites[step.node]!);
      case 'check':
        return follows(sites[step.node]!);
    }
  }

  private async waitForRule(site: Site): Promise<string[]> {
    await site.store.keepUp();
    for (const until = performance.now() + this.patience; ;) {
      const problems = await follows(site);
      if (problems.length === 0 || performance.now() > until) return problems;
      await setTimeout(50);
    }
  }

  private verify(schema: Schema, acknowledged: readonly Written[]): Promise<string[]> {
    return verifyTogether(this.sites, schema, acknowledged);
  }

  /** Until no pull brings anything, whoever is asked. */
  private async heal(): Promise<void> {
    for (let round = 0; round < rounds; round++) {
      for (const { store } of this.sites) await store.settleParked();
      let moved = 0;
      for (const to of this.sites) for (const from of this.sites) if (from !== to) moved += await pull(from, to);
      if (moved === 0) return;
    }
    throw new Error(`The nodes still have something to tell each other after ${rounds} rounds`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const site of this.sites) await site[Symbol.asyncDispose]();
  }
}

/** How what a node shows differs from the rule, as it is in force there. */
async function follows(site: Site): Promise<string[]> {
  return verifyRule(site.id, site.schema, await readState(site, site.schema));
}

export interface Failure {
  readonly seed: number;
  readonly schema: Schema;
  readonly steps: readonly Step[];
  readonly problems: readonly string[];
}

/** The fewest steps and statements, by leaving out one after the other, after which something is wrong still. */
export async function shrink(world: World, { seed, schema, steps }: Failure): Promise<Failure> {
  let smallest: Failure = { seed, schema, steps, problems: [] };
  for (let again = true; again;) {
    again = false;
    for (const fewer of candidates(smallest.steps)) {
      const problems = await world.play(schema, fewer);
      if (problems.length === 0) continue;
      smallest = { seed, schema, steps: fewer, problems };
      again = true;
      break;
    }
  }
  return smallest;
}

function* candidates(steps: readonly Step[]): Generator<Step[]> {
  for (let size = steps.length >> 1; size >= 1; size >>= 1) {
    for (let i = 0; i + size <= steps.length; i += size) yield [...steps.slice(0, i), ...steps.slice(i + size)];
  }
  for (const [i, step] of steps.entries()) {
    if (step.do !== 'write' || step.statements.length === 1) continue;
    for (const left of step.statements) {
      yield steps.with(i, { ...step, statements: step.statements.filter((statement) => statement !== left) });
    }
  }
}
