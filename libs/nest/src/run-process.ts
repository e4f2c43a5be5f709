/** A stop that takes longer is broken off, in ms. */
const longestStop = 20_000;

/**
 * Opens something and keeps the process until a signal, or the end of the process that started this one, stops it in order;
 * a signal that comes while it is still being opened does so as soon as that is done. A second signal ends at once.
 * Exit codes: 0 after an orderly stop, 1 when it could not be opened or closed, 128 + the signal's number when forced.
 */
export async function runProcess(open: () => Promise<AsyncDisposable>): Promise<void> {
  let askToStop = (): void => {};
  const asked = new Promise<void>((resolve) => (askToStop = resolve));
  let isAsked = false;
  const on = (forced: number) => (): void => {
    if (isAsked) process.exit(forced);
    isAsked = true;
    askToStop();
  };
  process.on('SIGINT', on(130));
  process.on('SIGTERM', on(143));
  if (process.channel) process.once('disconnect', on(129));
  try {
    const opened = await open();
    await asked;
    setTimeout(() => {
      console.error(
        `The stop took longer than ${longestStop / 1000} s and was broken off. What was under way is rolled back.`,
      );
      process.exit(1);
    }, longestStop).unref();
    await opened[Symbol.asyncDispose]();
    process.exit(0);
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(1);
  }
}
