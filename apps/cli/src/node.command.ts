import { readConfiguration, readEnvFile, runProcess, type SettingName, settings, sourceFromFlags } from '@pgmesh/nest';
import { Command } from 'commander';
import { startSidecar } from '../../node/src/sidecar';
import { addSettings } from './setting-option';

/** `pgmesh node`: an option for each setting of the table. */
export function command(): Command {
  return addSettings(new Command('node'), Object.keys(settings) as SettingName[]).action(
    (flags: Record<string, unknown>) =>
      runProcess(async () => {
        const file = typeof flags.envFile === 'string' ? readEnvFile(flags.envFile) : {};
        const configuration = readConfiguration(file, process.env, sourceFromFlags(flags));
        return startSidecar(configuration, (what) => console.error(what));
      }),
  );
}
