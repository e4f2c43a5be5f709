import { readConfiguration, stopOnSignals } from '@pgmesh/nest';
import { startSidecar } from './sidecar';

/** For containers and supervisors that set the environment; `pgmesh node` is the same with options. */
async function main(): Promise<void> {
  const served = await startSidecar(readConfiguration(process.env), (what) => console.error(what));
  stopOnSignals(() => served.stop());
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
});
