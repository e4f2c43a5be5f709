// @ts-check
import { patienceFor } from './deadline.mjs';
import { NodeProcess } from './node-process.mjs';

/**
 * Two pgmesh nodes. Both are ready before the clock starts: a with the table's rows, b with the empty table. Then b is
 * told of a.
 * @type {import('./system-native.mjs').System}
 */
export const pgmesh = {
  name: 'pgmesh',
  walLevel: 'replica',
  async prepare({ source, receiver, directory, teardown }, table) {
    const common = { tables: table, directory, patience: patienceFor(1_000_000) };
    const a = await NodeProcess.start(teardown, { id: 'a', databaseUrl: source.url, ...common });
    const b = await NodeProcess.start(teardown, { id: 'b', databaseUrl: receiver.url, ...common });
    return {
      join: () => b.addPeer(a.url),
      settle: async () => {},
      inspect: () => [a, b].forEach((node) => node.inspect()),
      peakMemory: () => ({ source: a.peakMemory(), receiver: b.peakMemory() }),
    };
  },
};
