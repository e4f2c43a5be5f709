import { essence } from './definition';
import { textDigest } from './digest';

/** A table's constraints on one of two nodes, by the name that people know it under. */
export interface ConstraintsAt {
  readonly node: string;
  readonly definitions: readonly string[];
}

/** Where two nodes' tables do not keep out the same rows: what only one of them has. */
export interface ConstraintDifference {
  /** `schema.table` */
  readonly table: string;
  readonly ours: readonly string[];
  readonly theirs: readonly string[];
  /** What to run, and where. */
  readonly remedy: string;
}

/** Characters of one definition, and how many of a table, that peers are told; of the rest a digest. */
const longest = 2_000;
const most = 500;

/**
 * A table's constraints as its node tells them: what keeps rows out of it or apart, without names, each once, sorted. As PostgreSQL takes them in
 * ALTER TABLE … ADD, but for `UNIQUE (lower(mail)) WHERE …`, which is an index, `CHECK (…) IN THE DOMAIN OF column`, and `… ON PARTITION FOR
 * VALUES …` of what one partition has for itself.
 */
export function constraintsOf(definitions: readonly string[]): string[] {
  const all = [...new Set(definitions)].sort().map(shortened);
  if (all.length <= most) return all;
  const rest = all.slice(most - 1);
  return [...all.slice(0, most - 1), `… and ${rest.length} more (${textDigest(rest.map(essence).sort().join('\n'))})`];
}

function shortened(definition: string): string {
  if (definition.length <= longest) return definition;
  return `${definition.slice(0, longest - 100)} … (${textDigest(essence(definition))})`;
}

/** Two tables of one digest keep out the same rows. */
export function constraintsDigest(definitions: readonly string[]): string {
  return textDigest([...new Set(definitions.map(essence))].sort().join('\n'));
}

/** What only one of two nodes has; null where both keep out the same rows. */
export function constraintDifference(
  table: string,
  here: ConstraintsAt,
  there: ConstraintsAt,
): ConstraintDifference | null {
  const [ours, theirs] = [lacking(here, there), lacking(there, here)];
  if (ours.length + theirs.length === 0) return null;
  const run = [
    ...theirs.map((definition) => statement(table, here.node, definition)),
    ...ours.map((definition) => statement(table, there.node, definition)),
  ];
  return { table, ours, theirs, remedy: `${run.join(' ')} Or drop on one what the other lacks.` };
}

/** What the first has and the other lacks. */
function lacking({ definitions }: ConstraintsAt, other: ConstraintsAt): string[] {
  const there = new Set(other.definitions.map(essence));
  return definitions.filter((definition) => !there.has(essence(definition))).sort();
}

const ident = '(?:[a-z_][a-z0-9_$]*|"(?:[^"]|"")*")';
const plainUnique = new RegExp(`^UNIQUE (\\(${ident}(?:, ${ident})*\\))( NULLS NOT DISTINCT)?$`);

function statement(table: string, node: string, definition: string): string {
  if (/ (?:ON PARTITION|IN THE DOMAIN OF) |…/.test(definition)) return `On ${node}, add ${definition}.`;
  const plain = plainUnique.exec(definition);
  if (plain) return `On ${node}: ALTER TABLE ${table} ADD UNIQUE${plain[2] ?? ''} ${plain[1]!};`;
  if (definition.startsWith('UNIQUE ')) return `On ${node}: CREATE UNIQUE INDEX ON ${table} ${definition.slice(7)};`;
  if (definition.startsWith('NOT NULL '))
    return `On ${node}: ALTER TABLE ${table} ALTER COLUMN ${definition.slice(9)} SET NOT NULL;`;
  return `On ${node}: ALTER TABLE ${table} ADD ${definition};`;
}
