import { readConfiguration, runProcess } from '@pgmesh/nest';
import { startSidecar } from './sidecar';

// For containers and supervisors that set the environment; `pgmesh node` is the same with options.
void runProcess(async () => startSidecar(readConfiguration(process.env), (what) => console.error(what)));
