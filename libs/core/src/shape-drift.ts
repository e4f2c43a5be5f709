import { type ColumnForm, quoteIdent, type TableForm } from './table-form';

/** Why rows of one node's table cannot be put into another's without losing a value, and what ends it. */
export interface ShapeDrift {
  readonly kind: DriftKind;
  readonly column: string;
  readonly reason: string;
  /** Statements and where to run them, or a sentence. */
  readonly remedy: string;
}

/**
 * `missing_column`: the receiver lacks it, and it looks as if it was added at the sender. `dropped_column`: the receiver had it.
 * `renamed_column`: the receiver lacks it, and has one of its type that the sender lacks. `other_type`: not every value of the
 * sender's fits. `generated_column`: one of both computes it. `required_column`: the receiver cannot insert without it, and the sender
 * lacks it. `other_key`: their primary keys are not the same columns.
 */
export type DriftKind =
  | 'missing_column'
  | 'dropped_column'
  | 'renamed_column'
  | 'other_type'
  | 'generated_column'
  | 'required_column'
  | 'other_key';

/** One of the two nodes, by the name that people know it under. */
export interface FormAt {
  readonly node: string;
  readonly form: TableForm;
  /** Columns that its table is known to have had. */
  readonly former?: ReadonlySet<string>;
}

/** Everything that stands in the way of the sender's rows in the receiver's table; nothing when each value of theirs arrives as it is. */
export function shapeDrifts(table: string, receiver: FormAt, sender: FormAt): ShapeDrift[] {
  const here = byName(receiver.form);
  const there = byName(sender.form);
  const lost = sender.form.columns.flatMap((theirs) => lostColumn(table, receiver, sender, theirs, here, there) ?? []);
  const renamed = new Set(lost.map(({ renamedTo }) => renamedTo));
  const required = receiver.form.columns
    .filter(({ name, optional, generated }) => !there.has(name) && !optional && !generated && !renamed.has(name))
    .map((ours) => requiredColumn(table, receiver, sender, ours));
  const key = sameKey(receiver.form, sender.form) ? [] : [otherKey(table, receiver, sender)];
  return [...lost.map(({ drift }) => drift), ...required, ...key];
}

interface Lost {
  readonly drift: ShapeDrift;
  /** The receiver's column that it may be. */
  readonly renamedTo?: string;
}

type Columns = ReadonlyMap<string, ColumnForm>;

function lostColumn(
  table: string,
  receiver: FormAt,
  sender: FormAt,
  theirs: ColumnForm,
  here: Columns,
  there: Columns,
): Lost | null {
  const { name: column } = theirs;
  const ours = here.get(column);
  if (!ours) return theirs.generated ? null : missing(table, receiver, sender, theirs, here, there);
  if (ours.generated !== theirs.generated) {
    const [computes, stores] = ours.generated ? [receiver, sender] : [sender, receiver];
    const reason = `${computes.node} computes the column ${column}, and ${stores.node} stores it.`;
    return { drift: { kind: 'generated_column', column, reason, remedy: 'Make it the same on both.' } };
  }
  if (ours.generated || takesText(ours.base, theirs.base)) return null;
  const reason = `The column ${column} is ${ours.type} on ${receiver.node} and ${theirs.type} on ${sender.node}: not every value would arrive as it is.`;
  const remedy = at(receiver, `ALTER TABLE ${table} ALTER COLUMN ${quoteIdent(column)} TYPE ${theirs.type};`);
  return { drift: { kind: 'other_type', column, reason, remedy } };
}

function missing(
  table: string,
  receiver: FormAt,
  sender: FormAt,
  theirs: ColumnForm,
  here: Columns,
  there: Columns,
): Lost {
  const { name: column, base, type } = theirs;
  const lacks = `${receiver.node} lacks the column ${column} (${type}) that ${sender.node} has`;
  const strangers = [...here.values()].filter(({ name, generated }) => !there.has(name) && !generated);
  const alike = strangers.filter((ours) => ours.base === base);
  const missed = [...there.values()].filter((one) => !here.has(one.name) && !one.generated && one.base === base);
  if (alike.length === 1 && missed.length === 1) {
    const other = alike[0]!.name;
    const [from, to] = [quoteIdent(other), quoteIdent(column)];
    const rename = (old: string, name: string) => `ALTER TABLE ${table} RENAME COLUMN ${old} TO ${name};`;
    const reason = `${lacks}, and has ${other} instead: renamed?`;
    const remedy = receiver.former?.has(column)
      ? at(sender, rename(to, from))
      : sender.former?.has(other)
        ? at(receiver, rename(from, to))
        : `${at(receiver, rename(from, to))} Or ${atLower(sender, rename(to, from))}`;
    return { drift: { kind: 'renamed_column', column, reason, remedy }, renamedTo: other };
  }
  // NOT NULL alone cannot be added to a table that has rows; it may be set when the rows are there.
  const more = theirs.optional && theirs.more ? ` ${theirs.more}` : '';
  const add = at(receiver, `ALTER TABLE ${table} ADD COLUMN ${quoteIdent(column)} ${type}${more};`);
  if (!receiver.former?.has(column))
    return { drift: { kind: 'missing_column', column, reason: `${lacks}.`, remedy: add } };
  const drop = atLower(sender, `ALTER TABLE ${table} DROP COLUMN ${quoteIdent(column)};`);
  const reason = `${lacks}: it was dropped on ${receiver.node}.`;
  return { drift: { kind: 'dropped_column', column, reason, remedy: `${add} Or, to drop it everywhere, ${drop}` } };
}

function requiredColumn(
  table: string,
  receiver: FormAt,
  sender: FormAt,
  { name: column, type }: ColumnForm,
): ShapeDrift {
  const ident = quoteIdent(column);
  const reason = `${receiver.node} needs a value for the column ${column} (NOT NULL without a default), and ${sender.node} lacks it.`;
  const add = at(sender, `ALTER TABLE ${table} ADD COLUMN ${ident} ${type};`);
  const free = atLower(receiver, `ALTER TABLE ${table} ALTER COLUMN ${ident} DROP NOT NULL;`);
  return { kind: 'required_column', column, reason, remedy: `${add} Or ${free}` };
}

function otherKey(table: string, receiver: FormAt, sender: FormAt): ShapeDrift {
  const [ours, theirs] = [receiver, sender].map(({ form }) => form.key.join(', '));
  const column = sender.form.key.find((name, i) => name !== receiver.form.key[i]) ?? receiver.form.key.at(-1) ?? '';
  const reason = `The primary key of ${table} is (${ours}) on ${receiver.node} and (${theirs}) on ${sender.node}.`;
  return { kind: 'other_key', column, reason, remedy: 'Make the primary keys the same on both.' };
}

const sameKey = (a: TableForm, b: TableForm): boolean => JSON.stringify(a.key) === JSON.stringify(b.key);
const byName = ({ columns }: TableForm): Columns => new Map(columns.map((column) => [column.name, column]));
const at = ({ node }: FormAt, statement: string): string => `On ${node}: ${statement}`;
const atLower = ({ node }: FormAt, statement: string): string => `on ${node}: ${statement}`;

/** Integers by size; each holds those before it, and prints them alike. */
const integers = ['smallint', 'integer', 'bigint', 'numeric'];

/**
 * Whether every value of the type `theirs` is one of `ours` that PostgreSQL prints with the very same text. Where that is not certain, no:
 * float8 has other digits than float4, char pads, a numeric of another scale rounds.
 */
export function takesText(ours: string, theirs: string): boolean {
  if (ours === theirs) return true;
  const [wide, narrow] = [integers.indexOf(ours), integers.indexOf(theirs)];
  if (wide >= 0 && narrow >= 0) return narrow <= wide;
  const [to, from] = [modified(ours), modified(theirs)];
  if (to.name === 'text' || to.name === 'character varying') {
    if (from.name !== 'text' && from.name !== 'character varying') return false;
    const room = to.sizes[0] ?? Infinity;
    return room >= (from.sizes[0] ?? Infinity);
  }
  if (to.name === 'numeric' && from.name === 'numeric') {
    if (to.sizes.length === 0) return true;
    const [precision = 0, scale = 0] = to.sizes;
    return from.sizes.length > 0 && precision >= from.sizes[0]! && scale === (from.sizes[1] ?? 0);
  }
  return false;
}

/**
 * The same, or PostgreSQL refuses each value that does not fit, rather than to change it: integers, and numerics of one scale, that are
 * too large, and texts that are too long (but for spaces at their end). Other types round, pad or read the text otherwise.
 */
export function takesOrRefuses(ours: string, theirs: string): boolean {
  const pair = [ours, theirs];
  const whole = pair.every((type) => integers.indexOf(type) >= 0 && type !== 'numeric');
  const text = pair.every((type) => ['text', 'character varying'].includes(modified(type).name));
  const [to, from] = [modified(ours), modified(theirs)];
  const scaled = to.name === 'numeric' && from.name === 'numeric' && to.sizes.length > 0 && from.sizes.length > 0;
  return whole || text || (scaled && (to.sizes[1] ?? 0) === (from.sizes[1] ?? 0)) || takesText(ours, theirs);
}

/** `numeric(10,2)` → numeric, [10, 2] */
function modified(type: string): { readonly name: string; readonly sizes: readonly number[] } {
  const [, name, sizes] = /^(text|character varying|numeric)(?:\((\d+(?:,-?\d+)?)\))?$/.exec(type) ?? [];
  return { name: name ?? type, sizes: sizes?.split(',').map(Number) ?? [] };
}
