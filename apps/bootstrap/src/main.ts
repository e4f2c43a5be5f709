import { runProcess } from '@pgmesh/nest';
import { startBootstrap } from './bootstrap';
import { bootstrapConfiguration } from './configuration';

// For containers and supervisors that set the environment; `pgmesh bootstrap` is the same with options.
void runProcess(async () => startBootstrap(bootstrapConfiguration(process.env)));
