/**
 * A process that pulls from one database into another until it is killed or has everything, for tests of crashes and of memory:
 * `node pull-process.js`, its settings as JSON in PULL. Prints a line of JSON for each window, and its peak memory at the end.
 */
import { readFileSync } from 'node:fs';
import { nextRequest, type FeedRequest } from '@pgmesh/core';
import { PostgresStore } from '@pgmesh/store';
import { decodeFrames, encodeFrame, type Frame } from '@pgmesh/wire';

export interface PullSettings {
  readonly from: { readonly url: string; readonly nodeId: string };
  readonly to: { readonly url: string; readonly nodeId: string };
  readonly limit: number;
}

async function* encoded(frames: AsyncIterable<Frame>): AsyncGenerator<Uint8Array> {
  for await (const frame of frames) yield encodeFrame(frame);
}

async function main(): Promise<void> {
  const { from, to, limit } = JSON.parse(process.env.PULL!) as PullSettings;
  const source = await PostgresStore.open({ ...from, tables: ['*'] });
  const target = await PostgresStore.open({ ...to, tables: ['*'] });
  const say = (event: object) => process.stdout.write(`${JSON.stringify(event)}\n`);
  say({ ready: true });
  let last: FeedRequest['kind'] | null = null;
  for (;;) {
    const position = await target.inbox.position(from.nodeId);
    const request = nextRequest(position, source.identity.epoch, source.tables(), last);
    const window = await source.feed.open(request!, { except: () => [to.nodeId], limit });
    const applied = await target.inbox.apply(decodeFrames(encoded(window.frames())));
    if (applied.outcome !== 'applied') throw new Error('The window did not connect');
    say({ rows: applied.rows });
    last = request!.kind;
    if (last === 'window' && !window.head.more) break;
  }
  const peak = /VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'));
  say({ peak: Number(peak![1]) * 1024 });
  await source.close();
  await target.close();
}

void main();
