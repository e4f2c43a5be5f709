import { readConfiguration, readEnvFile, runProcess, type Setting, settings, sourceFromFlags } from '@pgmesh/nest';
import { Command } from 'commander';
import { startSidecar } from '../../node/src/sidecar';

/** `pgmesh node`: an option for each setting of the table. */
export function command(): Command {
  const node = new Command('node');
  for (const { flag, meaning, variable, fallback, fallbackMeaning } of Object.values<Setting>(settings)) {
    const otherwise = fallbackMeaning ?? fallback;
    if (flag !== null) node.option(flag, `${meaning} [${variable}]${otherwise ? ` (default: ${otherwise})` : ''}`);
  }
  return node
    .option('--env-file <path>', 'Read variables from a file; the environment and options win over it.')
    .action((flags: Record<string, unknown>) =>
      runProcess(async () => {
        const file = typeof flags.envFile === 'string' ? readEnvFile(flags.envFile) : {};
        const configuration = readConfiguration(file, process.env, sourceFromFlags(flags));
        return startSidecar(configuration, (what) => console.error(what));
      }),
    );
}
