import { signal, type RunningProcess } from './process';

const charges = new Set<RunningProcess>();

// Whoever ends without stop() (process.exit, an exception) takes its servers along, also one that is just being started.
// Only a parent that is killed leaves them behind; the next start on the directory finds them.
process.on('exit', () => {
  for (const charge of charges) signal(charge, 'SIGINT');
});

/** Ends the process with this one, unless let go before. */
export function endWithParent(charge: RunningProcess): void {
  charges.add(charge);
}

export function letGo(charge: RunningProcess): void {
  charges.delete(charge);
}
