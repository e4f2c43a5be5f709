// @ts-check
import { join } from 'node:path';
import { patienceFor } from './deadline.mjs';
import { NodeProcess, ownCli } from './node-process.mjs';

/**
 * Two pgmesh nodes. Both are ready before the clock starts: a with the table's rows, b with the empty table. Then b is
 * told of a.
 * @param {'pgmesh' | 'before'} name
 * @param {string} cli
 * @returns {import('./system-native.mjs').System & { cli: string }}
 */
const system = (name, cli) => ({
  name,
  cli,
  walLevel: 'replica',
  async prepare({ source, receiver, directory, teardown }, table) {
    const common = { tables: table, directory, patience: patienceFor(1_000_000), cli };
    const a = await NodeProcess.start(teardown, { id: 'a', databaseUrl: source.url, ...common });
    const b = await NodeProcess.start(teardown, { id: 'b', databaseUrl: receiver.url, ...common });
    return {
      join: () => b.addPeer(a.url),
      settle: async () => {},
      inspect: () => [a, b].forEach((node) => node.inspect()),
      peakMemory: () => ({ source: a.peakMemory(), receiver: b.peakMemory() }),
    };
  },
});

export const pgmesh = system('pgmesh', ownCli);

/** Another checkout, with its packages installed and built. @param {string} directory */
export const pgmeshOf = (directory) => system('before', join(directory, 'bin/pgmesh.js'));
