import {
  isOldestFirst,
  keepsFields,
  lastWriteWins,
  leftOpen,
  type Resolver,
  ResolverTimeout,
  type RowState,
  type RuleEntry,
  ruleFor,
  type Rules,
  visible,
  type Visible,
} from '@pgmesh/core';
import { createContext, Script } from 'node:vm';
import type { TableShape } from '../table-shape';

export type Resolvers = Readonly<Record<string, Resolver>>;

/** What a set of versions comes to, and the rule by which. */
export interface Judgement {
  readonly rule: RuleEntry;
  readonly visible: Visible;
}

/** What capture keeps of a table's writes: which fields they changed; when the row was inserted. */
export interface Keeps {
  readonly fields: boolean;
  readonly age: boolean;
}

/** How long a resolver that hung is not asked again, in milliseconds: rows stay locked while it is waited for. */
const rest = 10_000;
/** How long at most until the rows that it left open are shown to it again: a machine may have been busy, a function may hang for ever. */
const longestWait = 3_600_000;

/** Decides which row stands for a set of versions, by the rules in force (libs/core: visible). */
export class Judge {
  private readonly resting = new Map<string, number>();
  /** Set when a resolver has not answered for a row, until such rows are judged again. */
  private unanswered = false;
  private wait = rest;
  private notBefore = 0;

  constructor(
    public rules: Rules,
    private readonly resolvers: Resolvers = {},
    /** Milliseconds that a resolver may take for two versions. */
    private readonly limit = 250,
  ) {}

  judge(shape: TableShape, state: RowState, key: readonly string[]): Judgement {
    const keyColumns = shape.key.map(({ name }) => name);
    // Equal keys may be written in two ways, as 1.0 and 1.00, and nodes have met another of them first.
    const live = state.filter(({ image }) => image !== null);
    const named = live.length > 0 ? lastWriteWins(live).image! : {};
    const written = keyColumns.map((name, i) => named[name] ?? key[i]!);
    const rule = ruleFor(this.rules, `${shape.schema}.${shape.table}`, written);
    const resolver = rule.resolver === null ? undefined : this.limited(rule.resolver);
    const jsonb = new Set(shape.columns.filter(({ base }) => base === 'jsonb').map(({ name }) => name));
    return { rule, visible: visible(state, { strategy: rule.strategy, resolver, keyColumns, jsonb }, written) };
  }

  /** What capture has to keep of the table's writes for the rules. */
  readonly keeps = ({ schema, table }: Pick<TableShape, 'schema' | 'table'>): Keeps => {
    const name = `${schema}.${table}`;
    return { fields: keepsFields(this.rules, name), age: isOldestFirst(this.rules, name) };
  };

  /** The resolvers that rules name and nobody has registered. */
  unregistered(rules: Rules): string[] {
    const named = rules.flatMap(({ resolver }) => (resolver === null ? [] : [resolver]));
    return [...new Set(named.filter((name) => !Object.hasOwn(this.resolvers, name)))];
  }

  get registered(): readonly string[] {
    return Object.keys(this.resolvers).sort();
  }

  /**
   * Judges anew what was left open because a resolver did not answer in time: other nodes may have heard its answer, and rows would
   * differ until the next start. `work` judges; where it is in vain, the next time is later.
   */
  async askAgain(work: () => Promise<void>): Promise<void> {
    if (!this.unanswered || performance.now() < this.notBefore) return;
    this.unanswered = false;
    try {
      await work();
    } catch (error) {
      this.unanswered = true;
      throw error;
    } finally {
      this.wait = this.unanswered ? Math.min(this.wait * 2, longestWait) : rest;
      this.notBefore = performance.now() + this.wait;
    }
  }

  private limited(name: string): Resolver | undefined {
    const resolver = Object.hasOwn(this.resolvers, name) ? this.resolvers[name] : undefined;
    return (
      resolver &&
      ((...sides) => {
        try {
          if (performance.now() < (this.resting.get(name) ?? 0)) throw new ResolverTimeout(this.limit);
          return withinTime(this.limit, () => resolver(...sides));
        } catch (error) {
          if (error instanceof ResolverTimeout) this.noteTimeout(name);
          throw error;
        }
      })
    );
  }

  private noteTimeout(name: string): void {
    const now = performance.now();
    if (now >= (this.resting.get(name) ?? 0)) this.resting.set(name, now + rest);
    if (!this.unanswered) this.notBefore = Math.max(this.notBefore, now + rest);
    this.unanswered = true;
  }
}

/** The judgement once the database has refused the row that the rule makes. */
export function refusedBy(message: string, state: RowState, { rule }: Judgement): Judgement {
  return { rule, visible: leftOpen(state, { kind: 'refused', message }) };
}

const context = createContext(Object.create(null) as { work?: () => unknown });
const call = new Script('work()');

/**
 * Calls a function that is not ours, and breaks it off after `limit` milliseconds, loops and catastrophic patterns included: the
 * watchdog ends whatever JavaScript runs, in which context it was written makes no difference. 0.1 ms a call.
 * @throws ResolverTimeout
 */
function withinTime<T>(limit: number, work: () => T): T {
  context.work = work;
  try {
    return call.runInContext(context, { timeout: limit }) as T;
  } catch (error) {
    if ((error as { code?: unknown } | null)?.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw new ResolverTimeout(limit);
    throw error;
  } finally {
    context.work = undefined;
  }
}
