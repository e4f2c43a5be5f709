import type { Frame } from '@pgmesh/wire';

/** The frames of a window on their way to a peer, and how many rows of which table have gone. */
export class Outgoing implements AsyncIterable<Frame> {
  readonly tables: Record<string, number> = {};

  constructor(private readonly frames: AsyncIterable<Frame>) {}

  get rows(): number {
    return Object.values(this.tables).reduce((sum, rows) => sum + rows, 0);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Frame> {
    for await (const frame of this.frames) {
      if ((frame.type === 'rows' || frame.type === 'copied') && frame.count > 0) {
        this.tables[frame.table] = (this.tables[frame.table] ?? 0) + frame.count;
      }
      yield frame;
    }
  }
}
