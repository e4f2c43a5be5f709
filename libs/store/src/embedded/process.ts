import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorCode } from './failure';

interface KernelRecord {
  state: string;
  startTicks: string;
}

/** What Linux says about a process; undefined when it is gone, and on other systems. */
function kernelRecord(pid: number): KernelRecord | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command's name is in parentheses and may hold anything; the fields are counted from behind it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0] ?? '', startTicks: fields[19] ?? '' };
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES'].includes(errorCode(error))) return undefined;
    throw error;
  }
}

/** A process, told from a later one with the same id, which a container gives out again and again. */
export interface RunningProcess {
  pid: number;
  /** When it began, in the kernel's ticks; '' where the system does not tell. */
  began: string;
}

export function processOf(pid: number): RunningProcess {
  return { pid, began: kernelRecord(pid)?.startTicks ?? '' };
}

/** Whether the process runs. A zombie does not: below a parent that reaps nobody it would be there for ever. */
export function isRunning({ pid, began }: RunningProcess): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (errorCode(error) !== 'EPERM') return false;
  }
  const record = kernelRecord(pid);
  return record?.state !== 'Z' && (record?.startTicks ?? '') === began;
}

/** Sends a signal; false when the process is gone. */
export function signal(to: RunningProcess, name: NodeJS.Signals): boolean {
  if (!isRunning(to)) return false;
  try {
    return process.kill(to.pid, name);
  } catch (error) {
    if (errorCode(error) === 'ESRCH') return false;
    throw error;
  }
}

/** Waits until the condition holds; false when it does not within the time. */
export async function waitUntil(condition: () => boolean, timeoutMs: number, everyMs = 5): Promise<boolean> {
  const end = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > end) return false;
    await sleep(everyMs);
  }
  return true;
}
