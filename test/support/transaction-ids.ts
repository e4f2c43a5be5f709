import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Offset of `checkPointCopy.nextXid`, a 64-bit number, in the pg_control of PostgreSQL 15 to 18. */
const nextXid = 64;

/**
 * Moves a stopped cluster's next transaction id forward by whole epochs, as `pg_resetwal -e` does, which embedded packages lack:
 * a server that was stopped in order starts from the copy of its last checkpoint in pg_control.
 */
export function advanceTransactionIds(dataDir: string, by: bigint): void {
  const file = join(dataDir, 'global', 'pg_control');
  const control = readFileSync(file);
  const sum = checksumOffset(control);
  control.writeBigUInt64LE(control.readBigUInt64LE(nextXid) + by, nextXid);
  control.writeUInt32LE(crc32c(control.subarray(0, sum)), sum);
  writeFileSync(file, control);
}

/** The checksum ends the structure, whose size differs between versions: it is where the number equals that of all before it. */
function checksumOffset(control: Buffer): number {
  for (let at = nextXid + 8; at < 512; at += 4) {
    if (control.readUInt32LE(at) === crc32c(control.subarray(0, at))) return at;
  }
  throw new Error('pg_control has no checksum where one was looked for');
}

function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
