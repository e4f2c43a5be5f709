import * as core from '@pgmesh/core';
import { covers, type RowVersion } from '@pgmesh/core';
import { Random } from '../convergence/random';
import { decide } from './rule';
import { completed, keyOf, type Row, ruledBy, type Schema, type Table } from './schema';
import { generateSchema, ruleChange } from './schema-generator';
import { type Change, type Parts, SimulatedNode } from './simulated-node';
import type { Written } from './site';
import { domains } from './values';

/** Microseconds, about, between two steps. */
const pause = 1000;

/** What is wrong after a seed's history, or on its way; null when nothing is. */
export function simulate(seed: number, parts: Parts = core): string | null {
  const random = new Random(seed);
  const schema = generateSchema(random);
  const nodes = ['a', 'b', 'c'].map((id, i) => new SimulatedNode(parts, schema, `${id}~1`, schema.priority[i]!));
  const acknowledged: Written[] = [];
  let last = schema;
  const steps = random.between(10, 40);
  for (let step = 1; step <= steps; step++) {
    const at = random.between(0, 2);
    const node = nodes[at]!;
    if (random.chance(0.65)) {
      const changes = random.times(1, 4, () => change(random, schema, node));
      // Clocks that show the same for ten steps give rows of several nodes one stamp.
      const now = (schema.grain > 1 ? step - (step % 10) : step) * pause + schema.skew[at]!;
      acknowledged.push(...(node.write(withoutRepeats(changes), now, random.chance(0.5)) ?? []));
      continue;
    }
    if (random.chance(0.05)) {
      const rule = ruleChange(random, schema);
      last = ruledBy(last, rule);
      node.follow(ruledBy(node.schema, rule));
      const fault = node.faultOfRule();
      if (fault) return `after ${JSON.stringify(rule)} in step ${step}: ${fault}`;
      continue;
    }
    const other = nodes[(at + random.between(1, 2)) % 3]!;
    const whole = random.chance(0.6);
    if (random.chance(0.5)) node.keepUp();
    node.merge([...other.states].filter(() => whole || random.chance(0.5)));
    node.keepUp();
    const fault = node.faultOfRule();
    if (fault) return `after step ${step}: ${fault}`;
  }
  for (const node of nodes) node.follow(last);
  for (const to of [...nodes, ...nodes]) for (const from of nodes) if (from !== to) to.merge(from.states);
  // What local writes have made possible is looked after without a window, too.
  for (const node of nodes) node.keepUp();
  return faultTogether(last, nodes, acknowledged);
}

function faultTogether(
  schema: Schema,
  nodes: readonly SimulatedNode[],
  acknowledged: readonly Written[],
): string | null {
  const [first, ...rest] = nodes.map((node) => told(schema, node));
  for (const [i, other] of rest.entries()) if (other !== first) return `a has ${first}\n${'bc'[i]} has ${other}`;
  for (const node of nodes) {
    const fault = node.faultOfRule();
    if (fault) return fault;
  }
  for (const write of acknowledged) {
    const state = nodes[0]!.states.get(`${write.table} ${write.key[0]!}`) ?? [];
    const version = { stamp: write.stamp, origin: write.origin } as RowVersion;
    if (!state.some((one) => covers(one, version))) return `${JSON.stringify(write)} is nowhere`;
  }
  return null;
}

/** All that a node has, as text that is the same for the same. */
function told(schema: Schema, { states, standing, entrants }: SimulatedNode): string {
  const { parked } = decide(schema, [...entrants.values()]);
  const names = [...parked.map(({ table, key, reason }) => `${table} ${key} ${reason}`)].sort();
  return JSON.stringify([[...states].sort(([a], [b]) => (a < b ? -1 : 1)), [...standing.keys()].sort(), names]);
}

/** A row made, changed or deleted; its children mostly with it, as the actions of references would. */
function change(random: Random, schema: Schema, node: SimulatedNode): Change {
  const table = random.pick(schema.tables);
  const there = [...node.standing.values()].filter((one) => one.table === table.name);
  const kind = random.next();
  if (there.length > 0 && kind < 0.55) {
    const one = random.pick(there);
    if (kind < 0.2) return { table: table.name, key: one.key, row: null };
    const column = random.pick(table.columns);
    const row = completed(table, { ...one.row, [column.name]: value(random, table, column.name) });
    if (keyOf(table, row) === one.key) return { table: table.name, key: one.key, row };
  }
  const row: Row = Object.fromEntries(table.columns.map(({ name }) => [name, value(random, table, name)]));
  return { table: table.name, key: keyOf(table, row), row: completed(table, row) };
}

function value(random: Random, { columns, key }: Table, name: string): string | null {
  const { type, notNull } = columns.find((column) => column.name === name)!;
  return !notNull && !key.includes(name) && random.chance(0.3) ? null : random.pick(domains[type]);
}

function withoutRepeats(changes: readonly Change[]): Change[] {
  return [...new Map(changes.map((one) => [`${one.table} ${one.key}`, one])).values()];
}
