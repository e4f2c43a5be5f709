import { readEnvFile, runProcess, sourceFromFlags } from '@pgmesh/nest';
import { Command } from 'commander';
import { startBootstrap } from '../../bootstrap/src/bootstrap';
import { bootstrapConfiguration, bootstrapSettings, usualPort } from '../../bootstrap/src/configuration';
import { addSettings } from './setting-option';

export function command(): Command {
  return addSettings(new Command('bootstrap'), bootstrapSettings, { port: usualPort })
    .addHelpText(
      'after',
      '\nNodes name it in P2P_BOOTSTRAP_URL, with bootstrap in P2P_DISCOVERY_MODE. P2P_SECRET, which has no option, is read from the\n' +
        'environment or the file, and is that of the nodes; without it this machine alone is served. docs/discovery.md has the rest.',
    )
    .action((flags: Record<string, unknown>) =>
      runProcess(async () => {
        const file = typeof flags.envFile === 'string' ? readEnvFile(flags.envFile) : {};
        return startBootstrap(bootstrapConfiguration(file, process.env, sourceFromFlags(flags)));
      }),
    );
}
