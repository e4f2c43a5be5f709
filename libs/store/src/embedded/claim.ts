import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { EmbeddedFailure, errorCode } from './failure';
import { isRunning, processOf } from './process';

/**
 * Says which process has a data directory: a server found running is taken over from a dead parent only, never from
 * a living one. A file `<data directory>.owner` with the owner's process id and the moment it began.
 */
export class Claim {
  private constructor(private readonly path: string) {}

  static take(dataDir: string): Claim {
    const path = `${dataDir}.owner`;
    const mine = processOf(process.pid);
    // Once for a free directory, once more after a dead owner's claim was removed.
    for (let attempt = 1; ; attempt++) {
      try {
        writeFileSync(path, `${mine.pid} ${mine.began}\n`, { flag: 'wx', mode: 0o600 });
        return new Claim(path);
      } catch (error) {
        if (errorCode(error) !== 'EEXIST') throw error;
      }
      const owner = livingOwner(path);
      if (owner !== undefined || attempt === 3) {
        throw new EmbeddedFailure(
          'EMBEDDED_IN_USE',
          `The data directory ${dataDir} is in use by process ${owner ?? 'unknown'}, which is running. ` +
            'Stop that process, or choose another directory.',
        );
      }
      rmSync(path, { force: true });
    }
  }

  release(): void {
    rmSync(this.path, { force: true });
  }
}

function livingOwner(path: string): number | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  const [pid = '', began = ''] = text.trim().split(' ');
  const owner = { pid: Number(pid), began };
  return owner.pid > 0 && isRunning(owner) ? owner.pid : undefined;
}
