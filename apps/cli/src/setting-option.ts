import { type Setting, type SettingName, settings } from '@pgmesh/nest';
import type { Command } from 'commander';

/** An option for each of these settings that may stand on a command line. `usual` are other defaults than the table's. */
export function addSettings(
  command: Command,
  names: readonly SettingName[],
  usual: Partial<Record<SettingName, string>> = {},
): Command {
  for (const name of names) {
    const { flag, meaning, variable, fallback, fallbackMeaning }: Setting = settings[name];
    const otherwise = usual[name] ?? fallbackMeaning ?? fallback;
    if (flag !== null) command.option(flag, `${meaning} [${variable}]${otherwise ? ` (default: ${otherwise})` : ''}`);
  }
  return command.option('--env-file <path>', 'Read variables from a file; the environment and options win over it.');
}
