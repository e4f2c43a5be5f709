import { knows, type Knowledge } from './knowledge';
import { includes, joinSnapshots, type Snapshot } from './snapshot';

/** A place in a feed. */
export interface Mark {
  readonly node: string;
  readonly epoch: string;
  readonly snapshot: Snapshot;
}

/**
 * What others must know before we exchange a table with them (docs/members.md, Collection): for each guard one of its marks. Our own horizon
 * is a guard of one mark; one that was taken over from the source of a copy has the source's, and ours at the end of that copy.
 */
export type Guard = readonly Mark[];
export type Guards = readonly Guard[];

/** Whether who knows as much may read the table from us, and write it to us. */
export function meets(knowledge: Knowledge, guards: Guards, table: string): boolean {
  return guards.every((marks) => marks.some((mark) => reaches(knowledge, mark, table)));
}

function reaches(knowledge: Knowledge, { node, epoch, snapshot }: Mark, table: string): boolean {
  const known = Object.hasOwn(knowledge, node) ? knowledge[node] : undefined;
  return knows(known, { cursor: { epoch, snapshot }, tables: [table] });
}

/** Our guards after we have forgotten tombstones up to `horizon`. Those that it includes are no more. */
export function raised(guards: Guards, self: Omit<Mark, 'snapshot'>, horizon: Snapshot): Guards {
  const own = guards.filter((marks) => marks.length === 1 && isOf(marks[0]!, self)).map(([mark]) => mark!.snapshot);
  const snapshot = own.reduce(joinSnapshots, horizon);
  const others = guards.filter((marks) => !marks.some((mark) => isOf(mark, self) && includes(snapshot, mark.snapshot)));
  return [...others, [{ ...self, snapshot }]];
}

/** Guards of a source, taken over when a copy of its table begins. */
export function takenOver(ours: Guards, theirs: Guards, self: Omit<Mark, 'snapshot'>): Guards {
  const known = new Set(ours.map(nameOf));
  // One that was taken over from us is ours already.
  const others = theirs.filter((guard) => !guard.some((mark) => isOf(mark, self)));
  return [...ours, ...others.filter((guard) => !known.has(nameOf(guard)))];
}

/** The same at the end of a copy, after which who reads on from us has everything: `end` is a mark of ours. */
export function concluded(guards: Guards, end: Mark): Guards {
  return guards.map((marks) => (marks.some((mark) => isOf(mark, end)) ? marks : [...marks, end]));
}

function isOf(mark: Mark, { node, epoch }: Omit<Mark, 'snapshot'>): boolean {
  return mark.node === node && mark.epoch === epoch;
}

function nameOf(guard: Guard): string {
  return JSON.stringify(guard, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
}
