import { differencesOf, formatRules, longestRules, parseRules, type Rules } from '@pgmesh/core';
import { Problem } from '@pgmesh/wire';
import type { Pool } from 'pg';
import { inTransaction } from './database';
import { followRules } from './apply/follow-rules';
import type { Judge } from './apply/judge';
import type { Connections } from './connections';
import type { Shapes } from './shapes';

interface NodeRules {
  rules: string;
  rules_set: string | null;
  rules_replaced: string | null;
}

/** The rules by which conflicts stand here: those configured, until others are set at run time; and theirs until others are configured. */
export class Rulebook {
  constructor(
    private readonly connections: Pick<Connections, 'ordinary' | 'bulk'>,
    private readonly configured: Rules,
    readonly judge: Judge,
  ) {}

  get rules(): Rules {
    return this.judge.rules;
  }

  /**
   * At the start: which rules are in force.
   * @throws Error when they name a resolver that nobody has registered, or are too long for peers to be told
   */
  async open(): Promise<void> {
    this.judge.rules = (await setAtRunTime(this.connections.ordinary, this.configured)) ?? this.configured;
    const tooLong = lengthProblem(this.rules);
    if (tooLong !== null) throw new Error(tooLong);
    const missing = this.judge.unregistered(this.rules);
    if (missing.length > 0) {
      throw new Error(
        `The rules name ${missing.length > 1 ? 'resolvers' : 'the resolver'} ${missing.join(', ')}, and there is none of that name. ` +
          'Register it (P2P_RESOLVERS, or `resolvers` in code), or take another strategy (P2P_CONFLICT).',
      );
    }
  }

  /** At the start, with all tables under capture: shows the rows in conflict by the rules in force, where they stand by others. */
  async follow(shapes: Shapes): Promise<void> {
    const { rules } = await read(this.connections.ordinary);
    // A resolver may have become another one, or have failed before: what it made is made again.
    const same = rules === formatRules(this.rules) && this.rules.every(({ strategy }) => strategy !== 'custom');
    if (!same) await followRules(this.connections, shapes, this.judge);
  }

  /** Rows that a resolver left open because it did not answer in time are shown to it again, after a while. */
  async askAgain(shapes: Shapes): Promise<void> {
    await this.judge.askAgain(() => followRules(this.connections, shapes, this.judge));
  }

  /** @throws Problem `invalid_rules` */
  check(rules: Rules): void {
    const tooLong = lengthProblem(rules);
    if (tooLong !== null) throw new Problem('invalid_rules', `${tooLong} Nothing was changed.`);
    const missing = this.judge.unregistered(rules);
    if (missing.length === 0) return;
    const known = this.judge.registered.join(', ') || 'none';
    throw new Problem(
      'invalid_rules',
      `No resolver is registered as ${missing.join(', ')} (registered: ${known}). Nothing was changed. Register it on every node and start again.`,
    );
  }

  /** In force from now on, and after a restart. `prepare` puts the tables whose capture depends on the rules under a new one. */
  async set(rules: Rules, shapes: Shapes, prepare: () => Promise<void>): Promise<void> {
    // Noted first: a process that ends in the middle goes on at its next start.
    const [set, replaced] = [formatRules(rules), formatRules(this.configured)];
    await this.connections.ordinary.query(
      `UPDATE p2p.node SET rules_set = nullif($1, $2), rules_replaced = CASE WHEN $1 <> $2 THEN $2 END`,
      [set, replaced],
    );
    this.judge.rules = rules;
    await prepare();
    await mergesEnded(this.connections.ordinary);
    await followRules(this.connections, shapes, this.judge);
  }
}

function lengthProblem(rules: Rules): string | null {
  const { length } = formatRules(rules);
  if (length <= longestRules) return null;
  return `The text of the rules has ${length} characters; peers are told ${longestRules} at most. Speak of whole tables, or of shorter prefixes.`;
}

/** Waits for the merges under way: they may have judged by the former rules, and nobody sees what they do before they commit. */
async function mergesEnded(pool: Pool): Promise<void> {
  await inTransaction(pool, 'BEGIN', (client) => client.query('LOCK TABLE p2p.position IN EXCLUSIVE MODE'));
}

/** The rules that were set at run time, when nothing else was configured since. */
async function setAtRunTime(pool: Pool, configured: Rules): Promise<Rules | null> {
  const { rules_set, rules_replaced } = await read(pool);
  if (rules_set === null) return null;
  const [set, replaced] = [parseRules(rules_set), parseRules(rules_replaced ?? '')];
  if (set.ok && replaced.ok && differencesOf(replaced.rules, configured).length === 0) return set.rules;
  await pool.query('UPDATE p2p.node SET rules_set = NULL, rules_replaced = NULL');
  return null;
}

async function read(pool: Pool): Promise<NodeRules> {
  const { rows } = await pool.query<NodeRules>('SELECT rules, rules_set, rules_replaced FROM p2p.node');
  return rows[0]!;
}
