/**
 * Stops in order on SIGINT and SIGTERM, and when the process that started this one has gone. A second signal ends at once.
 * Exit codes are the shell's: 0 after an orderly stop, 128 + the signal's number when forced.
 */
export function stopOnSignals(stop: () => Promise<void>): void {
  let stopping = false;
  const on = (forced: number) => (): void => {
    if (stopping) process.exit(forced);
    stopping = true;
    stop().then(
      () => process.exit(0),
      (error: unknown) => {
        console.error(error instanceof Error ? error.message : String(error));
        process.exit(1);
      },
    );
  };
  process.on('SIGINT', on(130));
  process.on('SIGTERM', on(143));
  if (process.channel) process.once('disconnect', on(129));
}
