import { closeSync, copyFileSync, openSync, readSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';

const LARGEST = 4 * 1024 * 1024;
const CHECK_EVERY_MS = 60_000;

/**
 * The server's standard error, as a file in its data directory: a pipe would end with the process that reads it, and
 * the server may outlive that. Kept below a few megabytes: when full, it becomes `server.log.old` and starts anew.
 */
export class ServerLog {
  readonly path: string;
  private begin = 0;
  private timer?: NodeJS.Timeout;

  constructor(dataDir: string) {
    this.path = join(dataDir, 'server.log');
  }

  /** Opens it for a new server to append to; `text()` is then what that server has said. */
  open(): number {
    this.trim();
    const file = openSync(this.path, 'a', 0o600);
    this.begin = this.size();
    return file;
  }

  text(): string {
    const length = this.size() - this.begin;
    if (length <= 0) return '';
    const buffer = Buffer.alloc(length);
    const file = openSync(this.path, 'r');
    try {
      return buffer.toString('utf8', 0, readSync(file, buffer, 0, length, this.begin));
    } finally {
      closeSync(file);
    }
  }

  /** Looks after its size from now on, without keeping the process alive. */
  watch(): void {
    this.timer = setInterval(() => this.trim(), CHECK_EVERY_MS).unref();
  }

  unwatch(): void {
    clearInterval(this.timer);
  }

  // The server holds the file open in append mode: it can be emptied below it, but not be renamed away.
  private trim(): void {
    if (this.size() < LARGEST) return;
    copyFileSync(this.path, `${this.path}.old`);
    truncateSync(this.path);
  }

  private size(): number {
    return statSync(this.path, { throwIfNoEntry: false })?.size ?? 0;
  }
}
