import type { Finding } from '../preflight';

/** A row that keeps many concurrent versions: a merge is the dearer for each, and every peer carries them. */
export interface Crowd {
  readonly table: string;
  readonly versions: number;
}

/** Versions of one row that nobody need hear of. Each writer that has not seen the others adds one, and no more than one. */
const quiet = 16;

/** Whether a row that has grown by a merge is to be told of: beyond what is quiet, and at each doubling, not at every step. */
export function isCrowd(before: number, after: number): boolean {
  return after > quiet && (before <= quiet || Math.floor(Math.log2(after)) > Math.floor(Math.log2(before)));
}

export function crowdFinding({ table, versions }: Crowd): Finding {
  return {
    level: 'warning',
    table,
    problem: `A row has ${versions} concurrent versions: so many nodes wrote it without having seen each other's writes.`,
    remedy:
      'Any write of it, made where all have arrived, replaces them. Writers that change it all the time had better write rows of their own.',
  };
}
