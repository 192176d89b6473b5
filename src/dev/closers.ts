import { setTimeout as pause } from 'node:timers/promises';

/** Stops something that was started. */
export type Closer = () => Promise<void>;

/** Requests that are still under way after this long (ms) are cut off: the developer waits for the prompt. */
const MAX_CLOSE_MS = 3_000;

/** Closes in reverse order of starting. It continues after a failure, so that nothing is left running. */
export async function closeAll(closers: Closer[]): Promise<void> {
  for (const close of closers.splice(0).toReversed()) {
    await close().catch((error: unknown) => console.error(error));
  }
}

/** As the given closer, but waits for at most three seconds. */
export const briefly = (close: Closer) => async (): Promise<void> =>
  await Promise.race([close(), pause(MAX_CLOSE_MS, undefined, { ref: false })]);

/**
 * Stops once, however many signals arrive: Ctrl-C reaches a program through the terminal and through npm. If the
 * second signal ended the program, PostgreSQL and Redis would stay running. A closed terminal counts as a signal.
 */
export function stopOnSignal(stop: () => Promise<void>): void {
  let stopping = false;
  const onSignal = () => {
    if (stopping) return;
    stopping = true;
    stop().then(
      () => process.exit(0),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
}
