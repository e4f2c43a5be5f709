import { configurationReference } from '@pgmesh/nest';
import { Command } from 'commander';

export function command(): Command {
  return new Command('configuration').action(() => {
    process.stdout.write(configurationReference());
  });
}
