import type { Random } from '../convergence/random';
import { canonical, type Column, type Condition, type KeyRule, type Part, type Partition, type Row } from './schema';
import { compare, int } from './conditions';
import { shuffled } from './values';

/** What a key is made for: a table, a partitioned one, or one partition. */
export interface KeyTarget {
  readonly relation: string;
  readonly columns: readonly Column[];
  /** What every key of a partitioned table has to have, with equality. */
  readonly within: Column | null;
}

type KeyKind = (random: Random, target: KeyTarget, name: string) => KeyRule;

export function makeKey(random: Random, target: KeyTarget, name: string): KeyRule {
  return random.pick(keyKinds)(random, target, name);
}

/** The key of one partition: about nothing but the rows that it takes. */
export function ofPartition(partition: Partition, rule: KeyRule): KeyRule {
  const takes = partition.takes!;
  return {
    ...rule,
    partition,
    collide: (a, b) => takes(a) && takes(b) && rule.collide(a, b),
    takes: (row) => !takes(row) || rule.takes(row),
  };
}

export const part = ({ name, type }: Column): Part => ({ sql: name, of: (row) => canonical(type, row[name] ?? null) });

const expressions: readonly Part[] = [
  { sql: '(n / 2)', of: (row) => mapped(int(row, 'n'), (n) => String(Math.trunc(n / 2))) },
  { sql: '(n % 2)', of: (row) => mapped(int(row, 'n'), (n) => String(n % 2)) },
  { sql: 'coalesce(n, m)', of: (row) => row.n ?? row.m ?? null },
  { sql: '(n IS NULL)', of: (row) => String(row.n === null) },
  { sql: 'lower(t)', of: (row) => row.t?.toLowerCase() ?? null },
];

const mapped = (value: number | null, map: (value: number) => string) => (value === null ? null : map(value));

const predicates: readonly Condition[] = [
  { sql: 'm > 1', holds: (row) => compare(int(row, 'm'), 1, (a, b) => a > b) },
  { sql: 't IS NOT NULL', holds: (row) => row.t !== null },
  { sql: 'n <> m', holds: (row) => compare(int(row, 'n'), int(row, 'm'), (a, b) => a !== b) },
];

export function keyRule(
  name: string,
  ddl: string,
  parts: readonly Part[],
  rest: { predicate?: Condition; nullsEqual?: boolean; referable?: readonly string[] } = {},
): KeyRule {
  const { predicate, nullsEqual = false, referable = null } = rest;
  const isAbout = (row: Row) => predicate === undefined || predicate.holds(row) === true;
  const equal = (a: string | null, b: string | null) => (a === null || b === null ? nullsEqual && a === b : a === b);
  return {
    name,
    ddl,
    referable,
    collide: (a, b) => isAbout(a) && isAbout(b) && parts.every(({ of }) => equal(of(a), of(b))),
    takes: () => true,
  };
}

function somePlain(random: Random, { columns, within }: KeyTarget): Column[] {
  const picked = shuffled(random, columns).slice(0, random.between(1, 2));
  return within === null || picked.includes(within) ? picked : [...picked, within];
}

const names = (columns: readonly Column[]) => columns.map(({ name }) => name);

const unique: KeyKind = (random, target, name) => {
  const columns = somePlain(random, target);
  const nullsEqual = random.chance(0.3);
  const ddl = `ALTER TABLE ${target.relation} ADD CONSTRAINT ${name} UNIQUE ${nullsEqual ? 'NULLS NOT DISTINCT ' : ''}(${names(columns).join(', ')})`;
  return keyRule(name, ddl, columns.map(part), { nullsEqual, referable: names(columns) });
};

const deferrable: KeyKind = (random, target, name) => {
  const columns = somePlain(random, target);
  const when = random.pick(['DEFERRED', 'IMMEDIATE']);
  const ddl = `ALTER TABLE ${target.relation} ADD CONSTRAINT ${name} UNIQUE (${names(columns).join(', ')}) DEFERRABLE INITIALLY ${when}`;
  return keyRule(name, ddl, columns.map(part));
};

const partial: KeyKind = (random, target, name) => {
  const columns = somePlain(random, target);
  const predicate = random.pick(predicates);
  const ddl = `CREATE UNIQUE INDEX ${name} ON ${target.relation} (${names(columns).join(', ')}) WHERE ${predicate.sql}`;
  return keyRule(name, ddl, columns.map(part), { predicate });
};

const overExpression: KeyKind = (random, target, name) => {
  const plain =
    random.chance(0.4) || target.within
      ? somePlain(random, target)
          .slice(target.within ? -1 : 0)
          .slice(0, 1)
      : [];
  const parts = [random.pick(expressions), ...plain.map(part)];
  const nullsEqual = random.chance(0.2);
  const ddl = `CREATE UNIQUE INDEX ${name} ON ${target.relation} (${parts.map(({ sql }) => sql).join(', ')})${nullsEqual ? ' NULLS NOT DISTINCT' : ''}`;
  return keyRule(name, ddl, parts, { nullsEqual });
};

/** `lower()` and collations that ignore case are what people have for e-mail addresses. */
const regardlessOfCase: KeyKind = (random, target, name) => {
  const lower = { sql: 'lower(t)', of: (row: Row) => row.t?.toLowerCase() ?? null };
  const parts = [lower, ...(target.within ? [part(target.within)] : [])];
  const ddl = `CREATE UNIQUE INDEX ${name} ON ${target.relation} (${parts.map(({ sql }) => sql).join(', ')})`;
  return keyRule(name, ddl, parts);
};

const late = (random: Random) => random.pick(['', '', ' DEFERRABLE', ' DEFERRABLE INITIALLY DEFERRED']);

const equalExclusion: KeyKind = (random, target, name) => {
  const columns = somePlain(random, target);
  const ddl = `ALTER TABLE ${target.relation} ADD CONSTRAINT ${name} EXCLUDE USING btree (${columns.map((column) => `${column.name} WITH =`).join(', ')})${late(random)}`;
  return keyRule(name, ddl, columns.map(part));
};

/** Ranges from n to m, of all rows or of those that are equal otherwise; one that ends before it begins raises. */
const rangeExclusion: KeyKind = (random, target, name) => {
  const predicate = random.chance(0.3) ? random.pick(predicates) : undefined;
  const equal = target.within ?? (random.chance(0.3) ? target.columns.find(({ name: of }) => of === 't')! : null);
  // The types that ignore case have no gist.
  if (equal && (equal.type === 'nocase' || equal.type === 'citext')) return equalExclusion(random, target, name);
  const where = predicate ? ` WHERE (${predicate.sql})` : '';
  const compared = `${equal ? `${equal.name} WITH =, ` : ''}int4range(n, m) WITH &&`;
  const ddl = `ALTER TABLE ${target.relation} ADD CONSTRAINT ${name} EXCLUDE USING gist (${compared})${where}${late(random)}`;
  const isAbout = (row: Row) => predicate === undefined || predicate.holds(row) === true;
  const low = (row: Row) => int(row, 'n') ?? -Infinity;
  const high = (row: Row) => int(row, 'm') ?? Infinity;
  const { of } = equal ? part(equal) : { of: () => '' };
  return {
    name,
    ddl,
    referable: null,
    collide: (a, b) =>
      isAbout(a) &&
      isAbout(b) &&
      of(a) !== null &&
      of(a) === of(b) &&
      Math.max(low(a), low(b)) < Math.min(high(a), high(b)),
    takes: (row) => !isAbout(row) || low(row) <= high(row),
  };
};

const keyKinds: readonly KeyKind[] = [
  unique,
  unique,
  unique,
  deferrable,
  partial,
  overExpression,
  regardlessOfCase,
  equalExclusion,
  rangeExclusion,
];
