import { Problem } from '@pgmesh/wire';
import { PeerUnreachable } from './peer-client';

/** The tables that a refusal names; none where it names none. */
export function tablesOf({ extra: { tables } }: Problem): string[] {
  return Array.isArray(tables) ? tables.filter((table) => typeof table === 'string') : [];
}

/** What an exchange ended with, and what a link does about it. */
export interface Failure {
  /** `restart`: greet again. `retry`: the same again after a while. `pause`: someone has to do something first. */
  readonly remedy: 'restart' | 'retry' | 'pause';
  readonly code: string;
  readonly detail: string;
}

export function failureOf(error: unknown): Failure {
  if (error instanceof Problem) {
    const { code, status, message: detail } = error;
    const remedy =
      code === 'other_epoch' || code === 'gap' ? 'restart' : status >= 500 || status === 408 ? 'retry' : 'pause';
    return { remedy, code, detail };
  }
  if (error instanceof PeerUnreachable) return { remedy: 'retry', code: 'unreachable', detail: error.message };
  return { remedy: 'retry', code: 'internal', detail: error instanceof Error ? error.message : String(error) };
}
