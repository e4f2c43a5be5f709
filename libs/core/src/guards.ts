import { knows, type Knowledge } from './knowledge';
import { includes, joinSnapshots, sameSnapshot, type Snapshot } from './snapshot';

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
  // One that was taken over from us is ours already.
  const others = theirs.filter((guard) => !guard.some((mark) => isOf(mark, self)));
  // One that we took over before has our mark besides.
  const isKnown = (guard: Guard) =>
    ours.some((one) => guard.every((mark) => one.some((other) => sameMark(mark, other))));
  return [...ours, ...others.filter((guard) => !isKnown(guard))];
}

/**
 * Where our feed has begun anew all that is here is news in it, in a transaction that `begun` shows: whoever has come to there has
 * everything, whatever of our marks it had come past before.
 */
export function begunAnew(guards: Guards, former: Omit<Mark, 'snapshot'>, begun: Mark): Guards {
  return guards.map((marks) => marks.map((mark) => (isOf(mark, former) ? begun : mark)));
}

/** The same at the end of a copy, after which who reads on from us has everything: `end` is a mark of ours. */
export function concluded(guards: Guards, end: Mark): Guards {
  return guards.map((marks) => (marks.some((mark) => isOf(mark, end)) ? marks : [...marks, end]));
}

function isOf(mark: Mark, { node, epoch }: Omit<Mark, 'snapshot'>): boolean {
  return mark.node === node && mark.epoch === epoch;
}

function sameMark(a: Mark, b: Mark): boolean {
  return isOf(a, b) && sameSnapshot(a.snapshot, b.snapshot);
}
